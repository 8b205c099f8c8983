"""Name the class of picture files: ``python scripts/predict.py shoe.png coat.jpg``."""

import argparse
import sys
from pathlib import Path

import numpy as np

from fashion.backend.selection import Backend, start_backend
from fashion.cli import WRONG_INPUT, ArgumentParser, with_exit_status
from fashion.errors import FashionError
from fashion.paths import PROJECT, default_model
from fashion.preprocessing import limits, prepare
from fashion.preprocessing.model_input import ModelInput


def main() -> None:
    """Predict every readable file; the others are named on standard error and make the exit status 2."""
    options = _options()
    limits.use_one_opencv_thread()
    prepared = {}
    for path in options.images:
        try:
            prepared[path] = prepare.read(path)
        except FashionError as error:
            hint = "; a model is named as --artifact RUN" if str(path).startswith("artifact=") else ""
            print(f"error: {error}{hint}", file=sys.stderr)
    if prepared:
        _predict(prepared, options.artifact, options.backend)
    if len(prepared) < len(set(options.images)):
        sys.exit(WRONG_INPUT)


def _predict(prepared: dict[Path, ModelInput], artifact: Path, backend_name: Backend) -> None:
    start_backend(backend_name)
    from fashion.inference.predictor import Predictor  # imports Keras, on the backend just chosen
    from fashion.inference.tta import predict_with_tta

    predictor, loaded = Predictor.load(artifact)
    answer = predict_with_tta(list(prepared.values()), predictor.predict)
    classes, test = loaded.card.classes, loaded.card.test
    # By default the newest run's, so which one answers may have changed since the last time.
    path = loaded.path.resolve()
    path = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
    print(f"model: {path} ({loaded.model.name}, test accuracy {test.accuracy:.2%})", file=sys.stderr)
    width = max(len(str(path)) for path in prepared)
    for number, ((path, picture), row) in enumerate(zip(prepared.items(), answer.probabilities, strict=True)):
        first, second = np.argsort(row)[::-1][:2]
        steps = list(picture.steps)
        if predictor.uncertainty.judge(answer, number, photo=picture.is_photo).decision == "abstain":
            steps.insert(0, "not sure: unlike the training images")
        print(
            f"{path!s:{width}}  {classes[first]:<11}  {row[first]:6.1%}   then {classes[second]} {row[second]:.1%}"
            f"   ({'; '.join(steps)})"
        )


def _options() -> argparse.Namespace:
    parser = ArgumentParser(
        description="Name the class of picture files (PNG, JPEG, WebP).",
        epilog="A 28 x 28 grey picture is taken as it is, light on black like the data set. A product on a ground near "
        "white or near black is trimmed, resized, sharpened, centred and, if the ground is light, negated, as the data "
        "set was made, and its ground is made black. Out of any other picture the object is cut.",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="a picture file")
    parser.add_argument(
        "--artifact",
        type=Path,
        default=default_model(),
        help="a .keras file or a run's folder (default: the newest completed run, or before that the model that comes "
        "with the project: %(default)s)",
    )
    parser.add_argument(
        "--backend", choices=("jax", "tensorflow"), default="jax", help="what computes (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    with_exit_status(main)
