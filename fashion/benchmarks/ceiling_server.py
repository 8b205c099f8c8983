"""Servers without inference, the upper bounds for any model: this project's gunicorn and the same uploads.

``python -m fashion.benchmarks.ceiling_server KIND ARTIFACT PORT DATABASE_URL``
"""

import sys
from pathlib import Path

import numpy as np
import yaml
from flask import Flask, Response, jsonify, request

from fashion.paths import PROJECT
from fashion.server.process.json_logging import configure_logging
from fashion.server.process.master import GunicornServer
from fashion.server.service.served_model import ServedModel
from fashion.server.settings import Settings
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty, Prediction


class ConstantModel(ServedModel):
    """Ready at once, with one prediction for every image."""

    def load(self) -> None:
        """Load nothing."""
        self._batcher = self  # type: ignore[assignment]
        self.uncertainty = PosthocUncertainty()  # the card's would need features

    def predict(self, images: np.ndarray) -> Prediction:
        """Return equal probabilities."""
        return self.uncertainty.prediction(
            Outputs(np.full((len(images), len(self.classes)), 1 / len(self.classes), np.float32))
        )


class BareServer(GunicornServer):
    """A view that reads the upload and responds with as many bytes: no log-in, no decoding, no log."""

    def load(self) -> Flask:
        """Make the application."""
        app = Flask(__name__)
        shares = dict.fromkeys(self.model.classes, 0.1)

        @app.post("/predict")
        def predict() -> Response:
            return jsonify(bytes=len(request.files["file"].read()), probabilities=shares)

        return app


def main() -> None:
    """Serve until SIGTERM: ``no_inference`` is the whole application with a constant model; ``bare`` a single view."""
    kind, artifact, port, database_url = sys.argv[1:]
    defaults = yaml.safe_load((PROJECT / "configs" / "server" / "default.yaml").read_text())
    settings = Settings(**{**defaults, "port": int(port), "database_url": database_url})
    log_output = configure_logging()
    server = BareServer if kind == "bare" else GunicornServer
    server(settings, ConstantModel(Path(artifact), "jax"), log_output).run()


if __name__ == "__main__":
    main()
