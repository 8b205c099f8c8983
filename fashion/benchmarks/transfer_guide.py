"""The program of Keras's own guide to transfer learning, on a folder of photos: nothing of it tuned.

As https://keras.io/guides/transfer_learning/ has it: photos read by Keras and cached after resizing, a random flip and
rotation in front of a frozen network, a new last layer trained by Adam, then everything by Adam at 1e-5. Its network is
replaced by this project's EfficientNet-Lite0, so that both have the same features; more than two classes need
another loss and metric; and a callback prints the accuracy after each epoch.

``python -m fashion.benchmarks.transfer_guide FOLDER SIZE EPOCHS FINE_TUNING_EPOCHS SEED`` reads
``FOLDER/train/CLASS/*`` and ``FOLDER/test/CLASS/*``. It prints one line of JSON before the first epoch, with the number
of photos of each split, and one after each epoch, with the test accuracy.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fashion.backend.selection import start_backend

BATCH_SIZE = 32
PREFETCHED = 10  # batches
DROPOUT, ROTATION = 0.2, 0.1  # of a full turn
FINE_TUNING_RATE = 1e-5


def train(folder: Path, size: int, epochs: int, fine_tuning_epochs: int, seed: int) -> None:
    """Run the guide's program; see the module.

    Args:
        folder: Contains ``train`` and ``test``, with a folder of photos for each class.
        size: Pixels a side to which photos are resized.
        epochs: Epochs of the last layer alone; the guide has 20.
        fine_tuning_epochs: Epochs of the whole network after that; the guide has 10.
        seed: Of the initial weights, the augmentation and the order of the photos.
    """
    import keras
    from keras import layers

    from fashion.models.efficientnet_lite import backbone

    keras.utils.set_random_seed(seed)
    photos = {
        split: keras.utils.image_dataset_from_directory(
            folder / split, image_size=(size, size), batch_size=None, seed=seed, verbose=False
        )
        for split in ("train", "test")
    }
    classes = len(photos["train"].class_names)
    _report(split={split: len(dataset.file_paths) for split, dataset in photos.items()})
    train_ds, test_ds = (
        dataset.cache().batch(BATCH_SIZE).prefetch(buffer_size=PREFETCHED) for dataset in photos.values()
    )

    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(ROTATION)])
    pooled = backbone((size, size, 3))
    base = keras.Model(pooled.input, pooled.get_layer("pool").input)
    base.trainable = False
    inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255)(augmentation(inputs))
    x = base(x, training=False)  # also while it is fine-tuned: batch normalisation keeps its statistics
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(DROPOUT)(x)
    model = keras.Model(inputs, layers.Dense(classes)(x))

    class Reporter(keras.callbacks.Callback):
        """Prints the test accuracy after each epoch."""

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            _report(epoch=epoch + 1, fine_tuning=base.trainable, accuracy=float((logs or {})["val_accuracy"]))

    def fit(optimizer: keras.optimizers.Optimizer, epochs: int) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
        model.fit(train_ds, epochs=epochs, validation_data=test_ds, verbose=0, callbacks=[Reporter()])

    fit(keras.optimizers.Adam(), epochs)
    if fine_tuning_epochs:
        base.trainable = True
        fit(keras.optimizers.Adam(FINE_TUNING_RATE), fine_tuning_epochs)


def _report(**line: object) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    """Run the program with the arguments of the command line."""
    folder, *numbers = sys.argv[1:]
    start_backend("tensorflow")
    train(Path(folder), *map(int, numbers))


if __name__ == "__main__":
    main()
