"""Classify image files: ``python scripts/predict.py image.png photo.jpg``."""

import argparse
import sys
from pathlib import Path
from typing import get_args

import numpy as np

from fashion import artifact
from fashion.backend.selection import Backend, start_backend
from fashion.cli import WRONG_INPUT, ArgumentParser, with_exit_status
from fashion.errors import FashionError
from fashion.paths import PROJECT, default_model
from fashion.preprocessing import fashion_mnist, limits
from fashion.preprocessing.formats import accepted
from fashion.preprocessing.model_input import ModelInput
from fashion.preprocessing.prepare import read

MAX_CLASS_WIDTH = 30  # characters; a longer name moves the rest of its line


def main() -> None:
    """Classify every readable file; the others are reported on standard error, and the exit status is then 2."""
    options = _options()
    limits.use_one_opencv_thread()
    spec = artifact.verify(options.artifact)[1].input
    inputs = {}
    for path in options.images:
        try:
            inputs[path] = read(path, spec)
        except FashionError as error:
            hint = "; a model is named as --artifact RUN" if str(path).startswith("artifact=") else ""
            print(f"error: {error}{hint}", file=sys.stderr)
    if inputs:
        _predict(inputs, options.artifact, options.backend)
    if len(inputs) < len(set(options.images)):
        sys.exit(WRONG_INPUT)


def _predict(inputs: dict[Path, ModelInput], model: Path, backend: Backend) -> None:
    start_backend(backend)
    from fashion.inference.predictor import Predictor  # imports Keras, on the backend just started
    from fashion.inference.tta import predict_with_tta

    predictor, loaded = Predictor.load(model)
    prediction = predict_with_tta(list(inputs.values()), predictor.predict)
    classes, test = loaded.card.classes, loaded.card.test
    # By default the newest run's model, which may not be the one of the last time.
    path = loaded.path.resolve()
    path = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
    print(f"model: {path} ({loaded.model.name}, test accuracy {test.accuracy:.2%})", file=sys.stderr)
    ranking = np.argsort(prediction.probabilities, axis=1)[:, ::-1]
    width = max(len(str(path)) for path in inputs)
    class_width = min(MAX_CLASS_WIDTH, max(map(len, classes)))
    for number, ((path, model_input), row) in enumerate(zip(inputs.items(), prediction.probabilities, strict=True)):
        first, second = ranking[number, :2]
        steps = list(model_input.steps)
        if predictor.uncertainty.judge(prediction, number, photo=model_input.is_photo).decision == "abstain":
            steps.insert(0, "not sure: unlike the training images")
        done = f"   ({'; '.join(steps)})" if steps else ""
        print(
            f"{path!s:{width}}  {classes[first]:<{class_width}}  {row[first]:6.1%}   then {classes[second]} "
            f"{row[second]:.1%}{done}"
        )


def _options() -> argparse.Namespace:
    parser = ArgumentParser(
        description=f"Classify image files: {accepted()}.",
        epilog="How an image is prepared is part of the model. Most scale it to the size of their training images "
        "(preprocessing: resize). Models of Fashion-MNIST prepare it as that data set was made. "
        f"{fashion_mnist.STEPS}",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="an image file")
    parser.add_argument(
        "--artifact",
        type=Path,
        default=default_model(),
        help="a .keras file or a run's folder (default: the newest completed run, or the pretrained model if there is "
        "none: %(default)s)",
    )
    parser.add_argument(
        "--backend", choices=get_args(Backend), default="jax", help="the Keras backend (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    with_exit_status(main)
