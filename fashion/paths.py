"""Where files are: in the checkout, and in the user's cache."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT / "data"
OUTPUTS = PROJECT / "outputs"
BENCHMARKS = OUTPUTS / "benchmarks"
PRETRAINED = PROJECT / "pretrained"


def default_model() -> Path:
    """Return the newest completed run, or the pretrained model where there is none."""
    latest = OUTPUTS / "latest"
    return latest if latest.exists() else PRETRAINED


def cache_folder() -> Path:
    """Return the per-user cache folder, shared by every run and every job of a sweep on this machine.

    It may be impossible to write there, or, for a user without a home, to make it.
    """
    home = os.path.expanduser("~")
    if not os.path.isabs(home):  # a container's user without a name
        home = os.devnull
    return Path(os.environ.get("XDG_CACHE_HOME") or Path(home, ".cache")) / "fashion"


def keras_datasets() -> Path:
    """Return the folder of the data sets that Keras has downloaded."""
    return Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")) / "datasets"
