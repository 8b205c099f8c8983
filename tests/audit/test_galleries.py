"""The galleries show each pair once, and no empty rows."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from fashion.audit.audited_images import AuditedImages
from fashion.audit.duplicates import SimilarPairs
from fashion.audit.galleries import SHOWN_PAIRS, draw_pairs
from fashion.data.dataset import Split

IMAGES = 40
IN_TEST = np.arange(IMAGES) >= 30


def pairs(first, second):
    """Pairs of images, the most similar first."""
    return SimilarPairs(np.array(first, int), np.array(second, int), np.linspace(1, 0.99, len(first), dtype=np.float32))


@pytest.mark.parametrize(
    ("near", "rows"),
    [
        (pairs([], []), {}),
        (pairs([0, 1], [2, 3]), {"within a split: the most similar pairs": ["1.0000", "0.9900"]}),
        (pairs([0], [35]), {"train and test: the most similar pairs": ["1.0000"]}),
        (
            pairs(range(SHOWN_PAIRS + 1), [29] * (SHOWN_PAIRS + 1)),
            {
                "within a split: the most similar pairs": SHOWN_PAIRS,
                "within a split: the least similar pairs": ["0.9900"],
            },
        ),
    ],
    ids=["none", "two", "across", "many"],
)
def test_pairs_have_a_row_where_there_are_any(near, rows, tmp_path, monkeypatch):
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *to, **kw: [drawn.append(figure), save(figure, *to, **kw)])
    one = Split(np.zeros((IMAGES, 8, 8, 1), np.uint8), np.zeros(IMAGES, np.int64), np.arange(IMAGES))
    draw_pairs(AuditedImages([("train", one)]), near, IN_TEST, tmp_path / "pairs.png")
    (figure,) = drawn
    shown = {axes.get_title(loc="left"): [label.get_text() for label in axes.get_xticklabels()] for axes in figure.axes}
    assert list(shown) == list(rows)
    for title, expected in rows.items():
        assert len(shown[title]) == expected if isinstance(expected, int) else shown[title] == expected
    assert figure.get_suptitle() == ("Near duplicates, one above the other" if rows else "No near duplicates")
