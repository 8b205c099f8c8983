"""Annotations of arrays are checked in tests, and cost nothing elsewhere."""

import subprocess
import sys

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from fashion import metrics
from fashion.paths import PROJECT

LABELS = np.array([0, 1, 1])
PROBABILITIES = np.full((3, 2), 0.5)


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        (LABELS[:2], PROBABILITIES),
        (LABELS[:, None], PROBABILITIES),
        (LABELS, PROBABILITIES[:, 0]),
        (LABELS.astype(float), PROBABILITIES),
        (LABELS, PROBABILITIES.astype(int)),
        (LABELS.tolist(), PROBABILITIES),
    ],
    ids=["another length", "two axes", "one axis", "float labels", "whole probabilities", "a list"],
)
def test_an_array_of_another_shape_or_type_is_refused(labels, probabilities):
    assert metrics.accuracy(LABELS, PROBABILITIES) == pytest.approx(1 / 3)
    with pytest.raises(TypeCheckError, match=r"whilst checking the parameters of fashion\.metrics\.accuracy"):
        metrics.accuracy(labels, probabilities)


@pytest.mark.process
def test_outside_tests_nothing_is_checked_and_no_framework_imported():
    program = (
        "import sys, numpy; from fashion.metrics import accuracy\n"
        "print(accuracy(numpy.array([1]), numpy.eye(2)[1:].tolist()), {'beartype', 'jax'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PROJECT)
    assert (run.stdout, run.stderr) == ("1.0 set()\n", "")
