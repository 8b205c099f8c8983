"""The processes of one training, connected by ``jax.distributed``: they start, stop, fail and end together.

Collective operations inside the compiled step exchange the gradients. All other communication goes through the
key-value store of JAX's coordination service, which runs in process 0: waiting there can be interrupted, and has no
time limit.
"""

import atexit
import concurrent.futures
import contextlib
import ctypes
import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fashion.backend.process_group import ADDRESS, INDEX, ProcessGroup
from fashion.cli import INTERRUPTED, WRONG_INPUT
from fashion.errors import FashionError, InputError

CONNECT_SECONDS = 300  # machines of a cluster start their processes at different times
DISCONNECT_SECONDS = 30
REPORT_SECONDS = 3.0  # for the other processes to read why process 0 has failed
POLL_MILLISECONDS = 500

_STOPPED = "stopped by a signal"
_CRASHED = 1  # Python's own exit status

_group: ProcessGroup | None = None
_connected = False
_reporting = False  # an error is on its way to standard error
_exit_status = WRONG_INPUT
_abort_reason = ""
_abort_handler: Any = None  # referenced here, as C does not


class StoppedTogether(KeyboardInterrupt):
    """All processes have agreed to stop after the same step."""


def is_first() -> bool:
    """Return whether this process is the one that writes: process 0, or the only one."""
    return _group is None or _group.index == 0


def connected() -> bool:
    """Return whether this process trains together with others."""
    return _connected


def connect(group: ProcessGroup) -> None:
    """Connect to the other processes; JAX then has the devices of all of them.

    Args:
        group: As the environment describes it. JAX is imported, but has not computed anything.

    Raises:
        InputError: When the address cannot be used.
    """
    global _group, _connected
    if _group is not None:
        return
    jax = importlib.import_module("jax")
    _refuse_unusable(group)
    where = group.address or "the first node of the Slurm job"
    _explain_aborts(
        f"not all {group.count} processes connected to {where} within {CONNECT_SECONDS} s; start each with the same "
        f"{ADDRESS} and its own {INDEX}, and make sure that process 0 can be reached there"
    )
    # JAX's handler of SIGTERM would replace that of fashion.training.graceful_stop.
    jax.config.update("jax_enable_preemption_service", False)

    def start() -> None:
        jax.distributed.initialize(
            group.address,
            group.count,
            group.index,
            initialization_timeout=CONNECT_SECONDS,
            shutdown_timeout_seconds=DISCONNECT_SECONDS,
        )
        with _silent_standard_output():  # Gloo reports its connections there
            importlib.import_module("jax.experimental.multihost_utils").sync_global_devices("connected")

    _group, _connected = group, True
    atexit.register(_leave)  # after JAX's own, so called before it
    try:
        _in_thread(start)
    except (RuntimeError, ValueError) as error:  # jax.errors.JaxRuntimeError is the former
        raise InputError(f"{ADDRESS}: {where}: {str(error).partition(chr(10))[0]}") from error
    _explain_aborts(
        "the connection to the other processes was lost: one of them was killed, or its machine was lost "
        "(FASHION_DEBUG=1 shows JAX's own messages)"
    )


def gather(name: str, value: str) -> list[str]:
    """Exchange a text with the other processes, and wait for all of them, however long.

    Args:
        name: What is exchanged; each name once.
        value: This process's text.

    Returns:
        The texts of all processes, by their index.

    Raises:
        FashionError: When another process has failed.
        KeyboardInterrupt: When another process was stopped.
    """
    if _group is None or not _connected:
        return [value]
    _client().key_value_set(f"{name}/{_group.index}", value)
    return [_wait_for(f"{name}/{index}") for index in range(_group.count)]


def announce(name: str, value: str) -> None:
    """Publish a text, unless another process was first."""
    with contextlib.suppress(RuntimeError):
        _client().key_value_set(name, value)


def announced(name: str) -> str | None:
    """Return a text that a process has published, if one has."""
    with contextlib.suppress(RuntimeError):
        return str(_client().key_value_try_get(name))
    return None


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Make one process's failure in the block, before it has disconnected, the failure of all, which say why.

    Raises:
        FashionError: When another process has failed.
        KeyboardInterrupt: When this process or another was stopped.
    """
    global _exit_status
    try:
        yield
    except StoppedTogether:
        _exit_status = INTERRUPTED
        disconnect()
        raise
    except KeyboardInterrupt:
        _exit_status = INTERRUPTED
        _announce_end(_STOPPED)
        raise
    except FashionError as error:
        _announce_end(str(error))
        raise
    except Exception as error:
        if _connected and "gloo" in str(error).lower():  # a collective operation whose peer is gone
            raise _end_of_others() from error
        _exit_status = _CRASHED
        _announce_end(f"{type(error).__name__}: {error}")
        raise


def disconnect() -> None:
    """Wait for all processes, then disconnect: from here on each may end at any time."""
    global _connected
    if _connected:
        gather("disconnect", "")
        importlib.import_module("jax").distributed.shutdown()
        _connected = False


def _client() -> Any:
    """Return JAX's client of the coordination service, which has no public name."""
    return importlib.import_module("jax._src.distributed").global_state.client


def _wait_for(key: str) -> str:
    while True:
        try:
            return str(_client().blocking_key_value_get(key, POLL_MILLISECONDS))
        except RuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error) or _ends():
                raise _end_of_others() from None


def _announce_end(reason: str) -> None:
    """Tell the others why this process ends; process 0 waits until they know, as it takes the service with it."""
    global _reporting
    if _group is None or not _connected:
        return
    _reporting = True
    announce(f"end/{_group.index}", reason)
    deadline = time.monotonic() + (REPORT_SECONDS if _group.index == 0 else 0)
    while len(_ends()) < _group.count and time.monotonic() < deadline:
        time.sleep(0.05)


def _ends() -> dict[int, str]:
    """Return why processes have ended, by their index."""
    with contextlib.suppress(RuntimeError):
        return {int(key.rpartition("/")[2]): value for key, value in _client().key_value_dir_get("end/")}
    return {}


def _end_of_others() -> BaseException:
    """Return what to raise when another process has ended."""
    global _reporting, _exit_status
    _reporting = True
    ends = _ends()
    if _STOPPED in ends.values():
        _exit_status = INTERRUPTED
        return KeyboardInterrupt()
    for index, reason in sorted(ends.items()):
        return FashionError(f"process {index} has failed: {reason}")
    return FashionError(
        "another process of this training ended without a message: it was killed, or its machine was lost"
    )


def _refuse_unusable(group: ProcessGroup) -> None:
    """Refuse an address that does not exist, or whose port is taken: JAX crashes there."""
    if group.address is None:
        return
    host, _, port = group.address.rpartition(":")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
        if group.index == 0:
            socket.create_server(("", int(port))).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{ADDRESS}: got {group.address}, which cannot be used: {reason}; choose another") from None


def _in_thread(work: Callable[[], None]) -> None:
    """Run what only waits in C++ in another thread, so that a signal can end the process meanwhile."""
    done: concurrent.futures.Future[None] = concurrent.futures.Future()

    def run() -> None:
        try:
            work()
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001  # raised again by result()
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        done.result()
    except KeyboardInterrupt:
        global _exit_status
        _exit_status = INTERRUPTED
        raise


def _explain_aborts(reason: str) -> None:
    """Say in one line why JAX aborts this process; ``FASHION_DEBUG=1`` shows its own twenty lines too.

    Its service aborts a process in C++, as soon as it has lost the others: no exception is raised.
    """
    global _abort_reason, _abort_handler
    _abort_reason = reason
    if _abort_handler is not None:
        return

    def explain(number: int) -> None:
        if _reporting:  # the main thread exits on its own
            time.sleep(REPORT_SECONDS)
        with contextlib.suppress(OSError):
            os.write(2, f"error: {_abort_reason}\n".encode())
        os._exit(WRONG_INPUT)

    _abort_handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(explain)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), _abort_handler)


def _leave() -> None:
    """End a process that is still connected, without JAX's wait for the others: they have failed, or will."""
    if _connected:
        if not _reporting:
            _announce_end("see its own messages")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(_exit_status)


@contextlib.contextmanager
def _silent_standard_output() -> Iterator[None]:
    """Discard what C++ writes to standard output while the block runs."""
    kept = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
