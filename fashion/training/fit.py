"""Train a model: configuration, data, augmentation, model, training, artifact."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

import keras
from omegaconf import DictConfig

from fashion import artifact
from fashion.backend.devices import on_cpu
from fashion.backend.selection import seed_everything
from fashion.config import resume_override
from fashion.config.build import build
from fashion.config.checks import Trainer, check_training
from fashion.config.schema import resolved
from fashion.data.batches import EvaluationBatches, TrainingBatches, as_pipeline
from fashion.data.dataset import Dataset
from fashion.errors import InputError
from fashion.runs import resume_state, run_record
from fashion.training import finalize, tracking
from fashion.training.callbacks import Guard, RunRecorder, guarded
from fashion.training.network import TrainingNetwork, cross_entropy

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> dict[str, float]:
    """Train, test once, and write the artifact with all that a run leaves behind.

    Args:
        cfg: A configuration composed from ``configs/train.yaml``.

    Returns:
        ``test_accuracy``, ``test_loss``, ``val_accuracy`` and ``val_loss``.

    Raises:
        InputError: When the configuration is wrong, the data cannot be had, the loss is no number any more, the
            disk is full, or the run to resume does not fit.
        KeyboardInterrupt: When a signal stopped the run; it can be resumed.
    """
    config = resolved(cfg)
    settings = check_training(config)
    folder = Path(config["run_folder"])
    resume_override.check(config, folder)
    with guarded() as guard, run_record.running(folder, config) as run:
        data: Dataset = build(config["data"], seed=settings.seed)
        devices = _spread_over_devices(settings)
        network = build_network(
            config, settings, steps=settings.epochs * (len(data.train_labels) // settings.batch_size)
        )
        chosen = [build(node) for node in (config["callbacks"] or {}).values()]
        with tracking.told(chosen, run):
            recorder = _fit(network, config, settings, data, devices, guard, chosen)
            run.timings |= {"start_up": _start_up_seconds(recorder), "training": round(recorder.seconds, 3)}

            with run.timing("evaluation"):
                test = finalize.write(network.deployable(), data, recorder, run)
            # Of a resumed run: this process, and the epochs that were finished before it.
            run.timings["total"] = round(recorder.seconds_before + run_record.seconds_at(time.monotonic()), 3)
    log.info("model          %s", folder / artifact.MODEL_FILE)
    log.info(
        "test accuracy  %.2f %%  (95 %% interval %.2f to %.2f, %d images)",
        *(100 * test[name] for name in ("accuracy", "accuracy_low", "accuracy_high")),
        len(data.test_labels),
    )
    return run.metrics


def _spread_over_devices(settings: Trainer) -> int:
    """Let Keras divide each batch among the visible devices, if that is asked for; return how many there are to fill.

    To be called before the network is built: its variables are then copied to every device.
    """
    if settings.distribution == "single":
        keras.distribution.set_distribution(None)
        return 1
    devices = keras.distribution.list_devices()
    if settings.batch_size % len(devices):
        raise InputError(
            f"trainer.batch_size: got {settings.batch_size}, expected a multiple of the {len(devices)} devices"
        )
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return len(devices)


def build_network(config: dict[str, Any], settings: Trainer, steps: int) -> TrainingNetwork:
    """Build and compile what is trained.

    Args:
        config: The run's resolved configuration.
        settings: Its ``trainer`` group, checked.
        steps: How many the whole run has.
    """
    seed_everything(settings.seed)
    augment = build(config["augment"], seed=settings.seed)
    network = TrainingNetwork(
        build(config["model"]), augment, fast=settings.fast_layers, flip_average=settings.flip_average
    )
    optimizer = build(config["optimizer"])
    optimizer.learning_rate = build(config["schedule"], peak=config["optimizer"]["learning_rate"], steps=steps)
    network.compile(
        optimizer=optimizer,
        loss=cross_entropy(settings.label_smoothing),
        metrics=["accuracy"],
        jit_compile=_jit_compile(settings),
    )
    network.build((None, 28, 28))
    network.optimizer.build(network.trainable_variables)
    return network


def _jit_compile(settings: Trainer) -> bool:
    """Return whether the step goes through XLA. Keras's own "auto" would choose it on TensorFlow's CPU too.

    There it trained EfficientNetB0 at 47 images/s, graphs at 456 to 494 (2 cores, AMD Zen 4, TensorFlow 2.21).
    """
    if settings.jit != "auto":
        return settings.jit
    return settings.backend == "jax" or not on_cpu()


def _fit(
    network: TrainingNetwork,
    config: dict[str, Any],
    settings: Trainer,
    data: Dataset,
    devices: int,
    guard: Guard,
    chosen: list[keras.callbacks.Callback],
) -> RunRecorder:
    """Run Keras's ``fit``, from the beginning or from where an unfinished run stopped."""
    batches = TrainingBatches(data.train_images, data.train_labels, settings.batch_size, settings.seed)
    validation = EvaluationBatches(data.validation_images, data.validation_labels, multiple_of=devices)
    folder = Path(config["run_folder"])
    state = _state_to_resume(folder) if settings.resume else None
    recorder = RunRecorder(folder, config, batches, chosen, state)
    # In a file the recorder's line per epoch is enough. Given first, the bar is complete before that line is written.
    bar = [keras.callbacks.ProgbarLogger()] if sys.stdout.isatty() else []
    log.info(
        "training %s on %d images, %d steps an epoch (%s)",
        network.core.name,
        len(data.train_labels),
        len(batches),
        keras.backend.backend(),
    )
    network.fit(
        as_pipeline(batches),
        validation_data=as_pipeline(validation),
        epochs=settings.epochs,
        initial_epoch=(settings.epochs if state.stopped else state.epochs) if state else 0,
        callbacks=[*bar, guard, *chosen, recorder],
        shuffle=False,  # the batches are shuffled already
        verbose=1 if bar else 0,
    )
    for callback in chosen:
        if isinstance(callback, keras.callbacks.EarlyStopping) and callback.stopped_epoch:
            kept = "; its weights are kept" if callback.restore_best_weights else ""
            log.info("stopped early: %s was best in epoch %d%s", callback.monitor, callback.best_epoch + 1, kept)
    guard.stop_if_asked()
    return recorder


def _state_to_resume(folder: Path) -> resume_state.State | None:
    state = resume_state.load(folder)
    if state is None:
        log.info("no epoch was finished: starting from the beginning")
        return None
    log.info("going on after epoch %d", state.epochs)
    return state


def _start_up_seconds(recorder: RunRecorder) -> float:
    """Return the seconds from the start of the process to the end of its first step; 0 where no step was left."""
    if recorder.first_step_at is None:
        return 0.0
    return round(run_record.seconds_at(recorder.first_step_at), 3)
