"""``trainer.backend=auto`` and ``trainer.precision=auto``: decided once for a run, by its network and this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

from fashion.backend.processor import Processor, backend_version, find_processor
from fashion.backend.selection import Backend, Precision
from fashion.config.nodes import ResolvedConfig, has_target
from fashion.errors import InputError
from fashion.runs.folder import RunFolder

AUTO = "auto"
DECIDED: dict[str, tuple[str, ...]] = {"backend": get_args(Backend), "precision": get_args(Precision)}
# Networks of depthwise convolutions, which neither backend computes faster in bfloat16 on a CPU. They are named here
# because importing a network imports Keras, which runs on one backend from then on.
EFFICIENTNETB0 = "fashion.models.efficientnetb0.efficientnetb0"
DEPTHWISE = (
    EFFICIENTNETB0,
    "fashion.models.efficientnet_lite.efficientnet_lite",
    "fashion.models.keras_application.keras_application",
)

SMALL_SIDE = 32  # pixels


class Decision(NamedTuple):
    """What replaces ``auto`` in a configuration.

    Attributes:
        values: Keys of the ``trainer`` group, and the value of each.
        reason: Why, in a few words; empty if nothing was to be decided.
    """

    values: dict[str, str]
    reason: str


def decide(config: ResolvedConfig, kept: Mapping[str, Any] | None = None) -> Decision:
    """Decide what a configuration leaves to the machine.

    Args:
        config: A resolved training configuration, not checked yet.
        kept: The ``trainer`` group of what is resumed, whose decisions stay; by default that of ``trainer.resume``.

    Raises:
        InputError: When the ``trainer`` group has another word than those that are allowed.
    """
    trainer = config.get("trainer")
    if not isinstance(trainer, dict):
        return Decision({}, "")  # what is wrong with it is said by the check of the whole
    for key, allowed in DECIDED.items():
        if key in trainer and trainer[key] not in (AUTO, *allowed):
            words = ", ".join(map(repr, (AUTO, *allowed[:-1])))
            raise InputError(f"trainer.{key}: got {trainer[key]!r}, expected {words} or {allowed[-1]!r}")
    wanted = [key for key in DECIDED if trainer.get(key) == AUTO]
    if not wanted:
        return Decision({}, "")
    reason = ""
    if kept is None and isinstance(trainer.get("resume"), str):
        run = RunFolder(Path(trainer["resume"]))
        if run.has_config:  # else it has not trained for an epoch yet, and starts again
            kept, reason = run.read_training_config()["trainer"], run.read_record().decided
    if kept is not None:
        return Decision({key: kept[key] for key in wanted}, reason)
    choice = fastest(config, find_processor(with_gpu=trainer.get("backend") != "tensorflow"))
    return Decision({key: choice.values[key] for key in wanted}, choice.reason)


def applied(config: ResolvedConfig, values: Mapping[str, str]) -> ResolvedConfig:
    """Return a configuration with decided values in place of ``auto``."""
    return config | {"trainer": config["trainer"] | values} if values else config


def fastest(config: ResolvedConfig, processor: Processor) -> Decision:
    """Return backend and precision that train a configuration's network fastest.

    Args:
        config: A resolved training configuration.
        processor: What it is to be trained on.
    """
    backend: Backend
    spread = config["trainer"].get("distribution") == "data_parallel"  # complete on JAX alone
    if processor.is_gpu:
        backend, reason = "jax", f"{processor.name} {processor.reason}"
        precision = "mixed_bfloat16" if processor.fast_bfloat16 else "float32"
    elif has_target(config.get("model"), *DEPTHWISE):
        precision, reason = "float32", "depthwise convolutions, on a CPU"
        backend = "jax" if _has_tiny_maps(config) else "tensorflow"
    else:
        backend, precision = "tensorflow", "mixed_bfloat16" if processor.fast_bfloat16 else "float32"
        reason = f"{processor.name} {processor.reason}"
    backend = "jax" if spread else backend
    if backend_version(backend) is None:  # as in an image that has one alone
        backend, reason = "jax" if backend == "tensorflow" else "tensorflow", f"{reason}; {backend} is not installed"
    return Decision({"backend": backend, "precision": precision}, reason)


def _has_tiny_maps(config: ResolvedConfig) -> bool:
    """Return whether it is EfficientNetB0 with the paper's stem, which halves small images at once.

    Then this project's kernels are 1.6 times as fast on JAX as on TensorFlow (``docs/benchmarks.md``); with larger maps
    they are slower there.
    """
    model, data = config.get("model"), config.get("data")
    if not (isinstance(model, dict) and isinstance(data, dict)):
        return False
    if not has_target(model, EFFICIENTNETB0) or model.get("stem_stride") != 2:
        return False
    # The published data sets have no such key: all their images are small.
    side = data.get("image_size", SMALL_SIDE if str(data.get("_target_")).startswith("fashion.data.") else None)
    return isinstance(side, int) and side <= SMALL_SIDE
