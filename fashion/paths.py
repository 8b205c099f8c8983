"""Where things are in a checkout."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT / "data"
OUTPUTS = PROJECT / "outputs"
BENCHMARKS = OUTPUTS / "benchmarks"
PRETRAINED = PROJECT / "pretrained"


def default_model() -> Path:
    """Return the newest completed run; before there is one, the model that comes with the project."""
    latest = OUTPUTS / "latest"
    return latest if latest.exists() else PRETRAINED
