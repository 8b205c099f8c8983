"""Copies: images of equal content, which can leak between splits or contradict each other's labels."""

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from fashion.arrays import Labels, Positions
from fashion.data.image_splits import SplitPositions

log = logging.getLogger(__name__)


def warn(
    splits: SplitPositions,
    contents: Positions,
    labels: Labels,
    sources: Shaped[np.ndarray, " n"],
    classes: Sequence[str],
) -> None:
    """Log a warning for images that are in two splits, and one for images with two labels.

    Args:
        splits: The positions of each split's images.
        contents: ``(n,)`` int64, equal for images of equal content.
        labels: ``(n,)`` int64, an index into ``classes``.
        sources: ``(n,)`` path of each image.
        classes: Name of each class.
    """
    copied = {
        f"{len(positions)} {name} images": positions
        for name, split in (("test", splits.test), ("validation", splits.validation))
        if len(positions := split[np.isin(contents[split], contents[splits.train])])
    }
    if copied:
        log.warning(
            "%s are copies of training images, so the metrics will be too optimistic; the first: %s",
            " and ".join(copied),
            sources[next(iter(copied.values()))[0]],
        )
    chosen_by = splits.test[np.isin(contents[splits.test], contents[splits.validation])]
    if len(chosen_by):
        log.warning(
            "test images that are copies of validation images, by which epoch and thresholds are chosen: %d; the test "
            "metrics will be too optimistic; the first: %s",
            len(chosen_by),
            sources[chosen_by[0]],
        )
    pairs = np.unique(np.stack([contents, labels]), axis=1)
    different = np.unique(pairs[0][1:][np.diff(pairs[0]) == 0])
    if len(different):
        positions = np.flatnonzero(contents == different[0])
        examples = ", ".join(f"{sources[position]} ({classes[labels[position]]})" for position in positions[:3])
        log.warning(
            "%d images have copies with different labels; the first: %s",
            np.isin(contents, different).sum(),
            examples,
        )
