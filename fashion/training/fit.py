"""Train a model: configuration, data, augmentation, model, training, artifact."""

import contextlib
import hashlib
import json
import logging
import sys
import time
from collections.abc import Sequence

import keras

from fashion.backend import coordination
from fashion.backend.devices import describe_devices, on_cpu, own_devices
from fashion.backend.initial_values import few_programs
from fashion.backend.selection import seed_everything
from fashion.config.build import build
from fashion.config.command import task_overrides
from fashion.config.nodes import ResolvedConfig
from fashion.data.batches import WHOLE, BatchPart, EvaluationBatches, TrainingBatches, as_pipeline
from fashion.data.dataset import Dataset
from fashion.errors import InputError
from fashion.metrics import has_unequal_classes
from fashion.plural import counted
from fashion.runs.active_run import ActiveRun, recorded, seconds_at
from fashion.runs.folder import RunFolder
from fashion.runs.identity import config_hash
from fashion.runs.resume_state import ResumeState
from fashion.runs.run_record import environment
from fashion.training.callbacks import BestCheckpoint, EpochRecorder, RaiseOnDivergence
from fashion.training.graceful_stop import GracefulStop
from fashion.training.hardest_images import HardestImages
from fashion.training.linear_probe import feature_cache, fit_linear_probe
from fashion.training.network import TrainingNetwork, balanced_weights, cross_entropy
from fashion.training.tracking import Tracker, notify_trackers
from fashion.training.training_settings import TrainerSettings, Training
from fashion.uncertainty.abstention import FeatureVectors

log = logging.getLogger(__name__)

# Of several processes that train together, one alone runs these.
WRITERS = (
    BestCheckpoint,
    Tracker,
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.TensorBoard,
)


def train(training: Training) -> dict[str, float]:
    """Train, test once, and write the artifact and everything else that a run writes.

    Of several processes that train together (see ``fashion.backend.coordination``), process 0 alone does more than
    train.

    Args:
        training: The checked configuration; Keras runs on its backend already.

    Returns:
        Accuracy, macro accuracy and loss of the test and the validation images; see ``fashion.runs.result``. In a
        process that only trained, the last epoch's ``val_accuracy`` and ``val_loss``.

    Raises:
        InputError: When the data is not available, or the run to resume does not fit.
        DivergenceError: When the loss is no longer finite.
        WriteError: When the disk is full or cannot be written.
        FashionError: When another process that trains with this one has failed.
        KeyboardInterrupt: When a signal stopped the run; it can be resumed.
    """
    config, settings = training.config, training.trainer
    folder = RunFolder(training.folder)
    computing = environment(keras.backend.backend(), describe_devices())
    run = ActiveRun(folder, config, task_overrides(), computing, training.decided)
    writes = coordination.is_first()
    with GracefulStop() as stop, recorded(run) if writes else contextlib.nullcontext(), coordination.together():
        data: Dataset = build(config["data"], seed=settings.seed)
        if writes:
            run.record_data(data)
            if run.decided:
                log.info("auto           %s, %s: %s", settings.backend, settings.precision, run.decided)
        _refuse_other_training(config, data)
        part = _spread_over_devices(settings)
        steps = settings.epochs * (len(data.train) // settings.batch_size)
        network = build_network(config, settings, data, steps)
        callbacks = [build(node) for node in (config["callbacks"] or {}).values()]
        if not writes:
            callbacks = [keras.callbacks.Callback() if isinstance(each, WRITERS) else each for each in callbacks]
        with notify_trackers(callbacks, run):
            recorder, features = _fit(network, data, run, settings, part, callbacks, stop)
            coordination.disconnect()
            if not writes:
                return {name: recorder.history[name][-1] for name in ("val_accuracy", "val_loss")}
            model = network.deployable()
            keras.distribution.set_distribution(None)
            with run.timing("evaluation"):
                # Importing it takes 0.6 s, for plots and statistics, which the first step need not wait for.
                from fashion.training import finalize

                test = finalize.write(model, data, recorder, run, features)
            # For a resumed run: this process, and the epochs that were finished before it.
            run.timings["total"] = round(recorder.seconds_before + seconds_at(time.monotonic()), 3)
    log.info("model          %s", folder.model)
    log.info(
        "test accuracy  %.2f %%  (95 %% interval %.2f to %.2f, %d images)",
        *(100 * share for share in (test.accuracy, test.accuracy_low, test.accuracy_high)),
        len(data.test),
    )
    if has_unequal_classes(data.test.labels):
        log.info(
            "macro accuracy %.2f %%  (95 %% interval %.2f to %.2f; every class counts the same)",
            *(100 * share for share in (test.macro_accuracy, test.macro_accuracy_low, test.macro_accuracy_high)),
        )
    return run.metrics


def _refuse_other_training(config: ResolvedConfig, data: Dataset) -> None:
    """Wait until every process has its data, and refuse to train on different ones, or with different settings.

    Raises:
        InputError: When another process has others.
    """
    digest = hashlib.sha256(json.dumps([config_hash(config), data.digests], sort_keys=True).encode())
    for split in (data.train, data.validation):
        digest.update(split.labels.tobytes())
    for index, other in enumerate(digests := coordination.gather("training", digest.hexdigest())):
        if other != digests[0]:
            raise InputError(
                f"process {index} has other data or another configuration than process 0; start all with the same "
                "command line, and with trainer.precision=float32 if auto decided differently on their machines"
            )


def _spread_over_devices(settings: TrainerSettings) -> BatchPart:
    """Let Keras divide each batch among the visible devices, if configured so; return this process's part.

    Call it before the network is built: its variables are then copied to every device.
    """
    if settings.distribution == "single":
        keras.distribution.set_distribution(None)
        return WHOLE
    devices = keras.distribution.list_devices()
    if settings.batch_size % len(devices):
        raise InputError(
            f"trainer.batch_size: got {settings.batch_size}, expected a multiple of the {len(devices)} devices"
        )
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False))
    return BatchPart(*own_devices(), len(devices))


def build_network(config: ResolvedConfig, settings: TrainerSettings, data: Dataset, steps: int) -> TrainingNetwork:
    """Build and compile the augmentation and the model that are trained.

    Args:
        config: The run's resolved configuration.
        settings: Its ``trainer`` group, checked.
        data: Gives the shape of the images, their statistics, the number of classes and of images in each.
        steps: Steps of the whole run.
    """
    seed_everything(settings.seed)
    augment = build(config["augment"], seed=settings.seed)
    with few_programs():
        model = build(config["model"], input_shape=data.image_shape, classes=len(data.classes), pixels=data.pixels)
    network = TrainingNetwork(
        model,
        augment,
        fast=settings.fast_layers,
        flip_average=settings.flip_average,
        shift_average=settings.shift_average,
        class_weights=balanced_weights(data.train.labels, len(data.classes)) if settings.class_weights else None,
        frozen_batch_norm=settings.frozen_batch_norm,
        frozen_through=settings.frozen_through,
        kept_losses=len(data.train) // settings.batch_size * settings.batch_size if settings.hardest_share else 0,
    )
    optimizer = build(config["optimizer"])
    optimizer.learning_rate = build(config["schedule"], peak=config["optimizer"]["learning_rate"], steps=max(steps, 1))
    network.compile(
        optimizer=optimizer,
        loss=cross_entropy(settings.label_smoothing),
        metrics=["accuracy"],
        jit_compile=_jit_compile(settings),
    )
    network.build((None, *data.image_shape))
    with few_programs():
        network.optimizer.build(network.trainable_variables)
    return network


def _jit_compile(settings: TrainerSettings) -> bool:
    """Return whether XLA compiles the step. Keras's own "auto" would choose it on TensorFlow's CPU too.

    There it trained EfficientNetB0 at 47 images/s, graphs at 456 to 494 (2 cores, AMD Zen 4, TensorFlow 2.21).
    """
    if settings.jit != "auto":
        return settings.jit
    return settings.backend == "jax" or not on_cpu()


def _fit(
    network: TrainingNetwork,
    data: Dataset,
    run: ActiveRun,
    settings: TrainerSettings,
    part: BatchPart,
    callbacks: Sequence[keras.callbacks.Callback],
    stop: GracefulStop,
) -> tuple[EpochRecorder, FeatureVectors | None]:
    """Run Keras's ``fit``, from the beginning or from where an unfinished run stopped.

    Returns:
        The history, and what abstention is fitted to, if it is known: nothing has changed since a linear probe.
    """
    state = _state_to_resume(run.folder) if settings.resume else None
    features = None
    if settings.linear_probe and state is None:
        cache = feature_cache(run.config["data"])
        with run.timing("linear_probe"):
            features = fit_linear_probe(network, data, settings.precision, settings.seed, cache)
    folder = run.folder if coordination.is_first() else None
    if not settings.epochs:
        recorder = EpochRecorder(folder, run.config, None, callbacks, state)
        recorder.set_model(network)
        recorder.seconds = run.timings["training"] = run.timings["linear_probe"]
        return recorder, features if settings.precision == "float32" else None  # as the artifact computes them
    batches = TrainingBatches(data.train.images, data.train.labels, settings.batch_size, settings.seed, part)
    if settings.hardest_share:
        hardest = HardestImages(batches, settings.hardest_share, settings.hardest_from_epoch, settings.hardest_to_epoch)
        callbacks = [hardest, *callbacks]
    recorder = EpochRecorder(folder, run.config, batches, callbacks, state)
    recorder.seconds += run.timings.get("linear_probe", 0.0)
    validation = EvaluationBatches(data.validation.images, data.validation.labels, part=part)
    # In a file the recorder's line per epoch is enough. Given first, the bar is complete before that line is written.
    bar = [keras.callbacks.ProgbarLogger()] if folder and sys.stdout.isatty() else []
    log.info(
        "training %s on %s, %s an epoch (%s)",
        network.core.name,
        counted(len(data.train), "image"),
        counted(len(batches), "step"),
        keras.backend.backend(),
    )
    network.fit(
        as_pipeline(batches),
        validation_data=as_pipeline(validation),
        epochs=settings.epochs,
        initial_epoch=_first_epoch(state, settings),
        callbacks=[*bar, stop, RaiseOnDivergence(), *callbacks, recorder],
        shuffle=False,  # the batches are shuffled already
        verbose=1 if bar else 0,
    )
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.EarlyStopping) and callback.stopped_epoch:
            kept = "; its weights are kept" if callback.restore_best_weights else ""
            log.info("stopped early: %s was best in epoch %d%s", callback.monitor, callback.best_epoch + 1, kept)
    stop.stop_instead_of_ending()
    run.timings |= {"start_up": _start_up_seconds(recorder), "training": round(recorder.seconds, 3)}
    return recorder, None


def _state_to_resume(folder: RunFolder) -> ResumeState | None:
    state = folder.read_resume_state()
    if state is None:
        log.info("no epoch was completed: starting from the beginning")
        return None
    log.info("resuming after epoch %d", state.progress.epochs)
    return state


def _first_epoch(state: ResumeState | None, settings: TrainerSettings) -> int:
    if state is None:
        return 0
    return settings.epochs if state.progress.stopped else state.progress.epochs


def _start_up_seconds(recorder: EpochRecorder) -> float:
    """Return the seconds from the start of the process to the end of its first step; 0 where no step was left."""
    if recorder.first_step_at is None:
        return 0.0
    return round(seconds_at(recorder.first_step_at), 3)
