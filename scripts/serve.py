"""Serve a trained model over HTTP: ``python scripts/serve.py --help``."""

from pathlib import Path

from fashion.config.command import hydra_command
from fashion.server.serving_settings import ServingSettings, prepare_serving


@hydra_command("serve", prepare_serving)
def main(settings: ServingSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    from fashion.server.process.master import serve

    serve(Path(settings.artifact), settings.backend, settings.server)


if __name__ == "__main__":
    main()
