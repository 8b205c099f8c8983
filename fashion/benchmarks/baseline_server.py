"""The server of the program this project started from, to the letter: Flask's own, ``model.predict`` per request.

``python -m fashion.benchmarks.baseline_server ARTIFACT PORT``
"""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import numpy as np
from flask import Flask, Response, jsonify, request
from PIL import Image

from fashion import artifact
from fashion.backend.memory import keep_freed_memory
from fashion.backend.selection import start_backend


def main() -> None:
    """Serve until killed."""
    keep_freed_memory()  # makes this server faster, too
    start_backend("tensorflow")
    model, card, _ = artifact.load(Path(sys.argv[1]))
    app = Flask(__name__)

    def requires_auth(view: Callable[..., Response]) -> Callable[..., Response]:
        @wraps(view)
        def decorated(*args: object, **kwargs: object) -> Response:
            auth = request.authorization
            if not auth or not (auth.username == "admin" and auth.password == "password"):
                return Response("Login required", 401, {"WWW-Authenticate": 'Basic realm="Login Required"'})
            return view(*args, **kwargs)

        return decorated

    @app.post("/predict")
    @requires_auth
    def predict() -> Response:
        image = Image.open(request.files["file"]).convert("L").resize((28, 28))
        pixels = np.array(image).reshape(1, 28, 28, 1).astype("float32") / 255.0
        predicted = int(np.argmax(model.predict(pixels, verbose=0)))
        return jsonify(predicted_class=card.classes[predicted])

    app.run(host="127.0.0.1", port=int(sys.argv[2]))


if __name__ == "__main__":
    main()
