"""Train on the images that the network finds hardest: those it classifies well already teach it little.

As in online batch selection (Loshchilov and Hutter, 2015, arXiv:1511.06343), images are ranked by the losses of the
steps that trained on them, which cost nothing, though they are as old as those steps.
"""

import logging

import keras
import numpy as np
from jaxtyping import Float32, Int32

from fashion.data.batches import TrainingBatches
from fashion.plural import counted

log = logging.getLogger(__name__)

KEPT = 0.5  # weight of the previous average when an image is trained on again


class HardestImages(keras.callbacks.Callback):
    """Restrict some epochs to the images with the highest average loss.

    The average is exponential, over all steps that trained on the image. An image that no step has read yet is the
    hardest of all.

    Args:
        batches: The training batches; the number of steps in an epoch does not change.
        share: Share of the images, above 0.
        from_epoch: First epoch that reads only these, from 2: the first reads all images, to have a loss of each.
        to_epoch: Last epoch that does; those after it read all images again. None: the last of the run.
    """

    def __init__(self, batches: TrainingBatches, share: float, from_epoch: int, to_epoch: int | None) -> None:
        super().__init__()
        self.batches = batches
        self.count = max(1, round(share * len(batches.images)))
        self.from_epoch, self.to_epoch = from_epoch, to_epoch
        self.averages = [np.full(len(batches.images), np.inf, np.float32)]  # in a list, it is part of the resume state

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Say which epochs read fewer images: their training accuracy falls, and would surprise."""
        if self.params["epochs"] >= self.from_epoch:
            log.info(
                "in epochs %d to %d, training on the %s with the highest losses",
                self.from_epoch,
                self._last_epoch(),
                counted(self.count, "image"),
            )
        else:
            log.warning(
                "trainer.hardest_share has no effect: the last epoch, %d, is before trainer.hardest_from_epoch=%d",
                self.params["epochs"],
                self.from_epoch,
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Choose the images of this epoch."""
        restricted = self.from_epoch <= epoch + 1 <= self._last_epoch()
        self.batches.read_only(hardest(self.averages[0], self.count if restricted else len(self.averages[0])))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Take the losses of this epoch's steps into the averages."""
        losses = keras.ops.convert_to_numpy(self.model.image_losses)
        boundaries = range(self.batches.images_of_a_pass, len(losses), self.batches.images_of_a_pass)
        for rows, values in zip(np.split(self.batches.order(), boundaries), np.split(losses, boundaries), strict=True):
            update(self.averages[0], rows, values)

    def _last_epoch(self) -> int:
        """Return the last restricted epoch. It is not stored: a resumed run may have more epochs than before."""
        epochs: int = self.params["epochs"]
        return min(self.to_epoch or epochs, epochs)


def hardest(averages: Float32[np.ndarray, " images"], count: int) -> Int32[np.ndarray, " count"]:
    """Return the rows of the ``count`` highest averages in ascending order; of equal ones, the first."""
    return np.sort(np.argsort(-averages, kind="stable")[:count]).astype(np.int32)


def update(
    averages: Float32[np.ndarray, " images"], rows: Int32[np.ndarray, " read"], losses: Float32[np.ndarray, " read"]
) -> None:
    """Take losses of different images into their averages, in place; infinity stands for no loss yet."""
    before = averages[rows]
    averages[rows] = np.where(np.isinf(before), losses, KEPT * before + (1 - KEPT) * losses)
