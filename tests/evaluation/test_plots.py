import numpy as np
import pytest
from PIL import Image

from fashion.evaluation.plots import confusion_matrix, training_curves

HISTORY = {
    "loss": [1.0, 0.5, 0.4],
    "accuracy": [0.5, 0.7, 0.8],
    "val_loss": [0.9, 0.6, 0.7],
    "val_accuracy": [0.6, 0.75, 0.7],
}


def colours(path) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)[::7]}


@pytest.mark.parametrize("epochs", [1, 3])
def test_curves_are_drawn_in_both_colours(tmp_path, epochs):
    training_curves({name: values[:epochs] for name, values in HISTORY.items()}, tmp_path / "curves.png")
    assert {(0x2F, 0x66, 0x90), (0xE0, 0x7A, 0x3F)} <= colours(tmp_path / "curves.png")


def test_a_confusion_matrix_is_drawn_dark_where_the_shares_are(tmp_path):
    confusion_matrix(np.eye(3, dtype=int) * 5, ["a", "b", "c"], tmp_path / "all_right.png")
    confusion_matrix(np.ones((3, 3), dtype=int), ["a", "b", "c"], tmp_path / "guessing.png")
    right, guessing = (np.asarray(Image.open(tmp_path / f"{n}.png").convert("L")) for n in ("all_right", "guessing"))
    assert np.mean(right < 80) > 0.1
    assert np.mean(guessing < 80) < 0.05


@pytest.mark.parametrize("classes", [2, 60])
def test_few_and_many_classes_have_a_matrix_of_bounded_size(tmp_path, classes):
    names = [f"a rather long name {number}" for number in range(classes)]
    confusion_matrix(np.eye(classes, dtype=int) * 5, names, tmp_path / "matrix.png")
    with Image.open(tmp_path / "matrix.png") as drawn:
        assert max(drawn.size) == (750 if classes == 2 else 1800)
        assert np.asarray(drawn.convert("L"))[:, -10:].min() == 255  # the headline is not cut


def test_names_of_any_length_and_alphabet_leave_room_for_the_matrix(tmp_path, recwarn):
    """A dollar sign begins a formula in matplotlib, and a letter that its font lacks is a warning."""
    names = ["W" * 120, r"$\nosuch$", "\N{PANDA FACE}"]
    confusion_matrix(np.eye(3, dtype=int) * 5, names, tmp_path / "matrix.png")
    assert not recwarn.list
    assert np.mean(np.asarray(Image.open(tmp_path / "matrix.png").convert("L")) < 80) > 0.02
