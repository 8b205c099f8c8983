"""Fixtures that more than one test module uses."""

import os
from pathlib import Path

import pytest

from fashion.data.source import load_idx_files
from fashion.errors import FashionError

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def fashion_mnist_root() -> Path:
    """The checkout's ``data`` folder with the verified files of Fashion-MNIST; a skip where they cannot be had.

    On CI the tests on real data are the point, so there a missing data set is a failure.
    """
    root = PROJECT_ROOT / "data"
    try:
        load_idx_files(root, download=True)
    except FashionError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return root
