"""Measure this project beside what one would use instead: ``python scripts/benchmark.py training``."""

import sys
from argparse import ArgumentTypeError
from pathlib import Path

from fashion.benchmarks import training
from fashion.errors import ArgumentParser, with_exit_status
from fashion.files import write_json
from fashion.paths import OUTPUTS


def main() -> None:
    """Print the table; write JSON and a bar chart."""
    options = _parser().parse_args()
    contenders = training.available()
    if "onnx" not in contenders:
        print('ONNX Runtime is left out; "make benchmark" installs it', file=sys.stderr)
    result = training.measure(options.rounds, options.steps, contenders)
    options.folder.mkdir(parents=True, exist_ok=True)
    write_json(options.folder / "training.json", result)
    training.chart(result, options.folder / "training.png")
    print(training.table(result))
    print(f"\nwritten: {options.folder / 'training.json'} and training.png")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(description="Measure this project beside what one would use instead.")
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    train = what.add_parser(
        "training",
        help="images/s of training and inference beside the seed program, stock Keras and ONNX Runtime (10 minutes)",
        description="Contenders run by turns, each in its own process; medians are printed. Keep the machine idle.",
    )
    train.add_argument("--rounds", type=_positive, default=5, help="turns of each contender (default: %(default)s)")
    train.add_argument("--steps", type=_positive, default=40, help="steps of 128 images a turn (default: %(default)s)")
    train.add_argument(
        "--folder", type=Path, default=OUTPUTS / "benchmarks", help="where to write (default: %(default)s)"
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"got {text!r}, expected a whole number from 1")
    return int(text)


if __name__ == "__main__":
    with_exit_status(main)
