"""JAX's environment: XLA flags, platforms, numerical settings and the compilation cache, checked before it computes."""

import contextlib
import importlib
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from fashion.errors import InputError
from fashion.paths import cache_folder

log = logging.getLogger(__name__)

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
# Both name the platform that JAX computes on.
PLATFORM_VARIABLES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
# JAX's own defaults, which its variables in the environment could replace without a word: a seed would then give other
# bits, or a network would not be built. As with Keras's own file, what another project needs does not apply here.
NUMERICS: dict[str, bool | int | str | None] = {
    "jax_enable_x64": False,
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_softmax_custom_jvp": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
}
# A training step of EfficientNetB0 is a program of 6 MB; the least recently used is evicted first.
COMPILATION_CACHE_BYTES = 2 * 2**30
# Makes XLA parse its flags, in 0.4 s.
PARSE_FLAGS = "from jaxlib import xla_client; xla_client.make_cpu_client()"


def import_jax() -> ModuleType:
    """Import JAX with the numerical settings that this project's results depend on.

    Raises:
        InputError: If one of JAX's variables in the environment has a value that it refuses.
    """
    try:
        jax = importlib.import_module("jax")
    except ValueError as error:
        raise _refused_variable(error) from error
    for name, value in NUMERICS.items():
        jax.config.update(name, value)
    return jax


def make_xla_deterministic() -> None:
    """Ask XLA for reproducible kernels on GPUs too, unless the user's flags say something about that."""
    flags = os.environ.get("XLA_FLAGS", "")
    if DETERMINISTIC.partition("=")[0] not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC}".strip()


def check_xla_flags() -> None:
    """Let another process parse the user's flags: XLA ends a process whose flags it refuses, without an exception.

    Raises:
        InputError: If it refuses them.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if flags in {"", DETERMINISTIC}:
        return
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}  # which start_backend sets so that XLA is quiet
    parsed = subprocess.run([sys.executable, "-c", PARSE_FLAGS], capture_output=True, text=True, env=environment)
    if parsed.returncode != 0:
        # The first message of XLA is the cause; a list of all flags may follow it.
        cause = re.search(r"^[EF]\d{4} .*?\] (.*)$", parsed.stderr, re.MULTILINE)
        reason = cause[1] if cause else f"exit status {parsed.returncode}"
        raise InputError(f"XLA_FLAGS: got {flags}, which XLA refuses ({reason}); correct it, or unset it")


def keep_compiled_programs() -> None:
    """Let JAX store compiled programs in the user's cache, for later processes; if it cannot, say so and do without.

    A training step of EfficientNetB0 compiles for 15 s; from the second run on it is read from there. A start
    also needs dozens of small programs, so these are cached too.
    """
    folder = cache_folder() / "xla"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        log.warning("%s is not writable, so every start recompiles; set XDG_CACHE_HOME to a writable folder", folder)
        return
    _remove_unfinished_entries(folder)
    jax = importlib.import_module("jax")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", COMPILATION_CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _remove_unfinished_entries(folder: Path) -> None:
    """Remove programs that a killed process stored without the time of their use, which JAX writes after them.

    With one such entry in the cache, JAX stores no program any more and warns of each.
    """
    with contextlib.suppress(OSError):
        names = set(os.listdir(folder))
        for name in names:
            if name.endswith("-cache") and f"{name.removesuffix('-cache')}-atime" not in names:
                (folder / name).unlink(missing_ok=True)


def initialise_devices() -> None:
    """Let JAX find its devices now.

    Raises:
        InputError: If the environment names a platform that this machine or installation lacks.
    """
    jax = importlib.import_module("jax")
    logging.getLogger("jax").setLevel(logging.WARNING)  # it reports every kind of device that it does not find
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter for CUDA where JAX is installed without it
        named = [f"{name}={os.environ[name]}" for name in PLATFORM_VARIABLES if os.environ.get(name)]
        if not named:
            raise _refused_variable(error) from error
        raise InputError(
            f"{' '.join(named)} names a platform that this machine or this installation of JAX lacks; "
            f"available: {', '.join(_platforms(jax))}; unset it, or choose one of these"
        ) from error


def _refused_variable(error: Exception) -> Exception:
    """Return an error that names the variable of JAX that caused another; that other one if none is set."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    message = str(error).partition("\n")[0]
    # JAX names its flag, jax_enable_x64 or jax.enable_x64, or only the value, or neither.
    named = {name: value for name, value in variables.items() if name in message.upper().replace("JAX.", "JAX_")}
    quoted = {name: value for name, value in variables.items() if repr(value) in message}
    suspects = " ".join(f"{name}={value}" for name, value in (named or quoted or variables).items())
    if not suspects:
        return error
    return InputError(f"{suspects}: JAX refuses it ({message}); correct it, or unset it")


def _platforms(jax: ModuleType) -> list[str]:
    """Return the platforms on which JAX can compute, where those in the environment failed."""
    jax.config.update("jax_platforms", None)
    jax.config.update("jax_platform_name", "")
    return sorted({device.platform for device in jax.devices()})
