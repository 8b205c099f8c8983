"""The server as a process: one master that forks workers, each with its own model."""

import gc
import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from fashion.backend.selection import Backend
from fashion.cli import WRONG_INPUT
from fashion.errors import FashionError, InputError
from fashion.paths import PRETRAINED
from fashion.server.process.worker import Worker
from fashion.server.service.served_model import ServedModel
from fashion.server.settings import Settings
from fashion.server.storage.accounts import DEFAULT_NAME, DEFAULT_PASSWORD, Accounts

# Threads that only read and write: many, since a slow client holds one. What computes is limited by the work queue.
CONNECTION_THREADS = 256
CONNECTIONS = 1000
# How long a thread may go on while another waits for Python's lock. An answer is handed between four threads; with
# Python's 5 ms, each could lose that to the thread that writes the request log: a conjecture, since comparing
# the slowest percent on a busy machine showed nothing either way.
SWITCH_SECONDS = 0.0005
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

log = structlog.get_logger("fashion.server")


def serve(artifact: Path, backend: Backend, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    What can be wrong is found here, before the first worker is forked, so that it is told once and in one line. Keras
    and JAX are not imported in this process: a fork of JAX's threads would deadlock.

    Args:
        artifact: A ``.keras`` file with its card beside it, or the folder of a run.
        backend: The Keras backend that computes.
        settings: What was set.

    Raises:
        InputError: When the model, the database, an account or a setting forbids to start.
    """
    if settings.processes > 1 and settings.redis_url is None:
        raise InputError(
            f"server.redis_url: got null with server.processes={settings.processes}, expected a Redis "
            "(redis://HOST:PORT/0) in which they count failed log-ins together"
        )
    configure_logging()
    if settings.processes > 1:
        # Read by prometheus_client while it is imported, so before anything that counts.
        os.environ[METRICS_FOLDER] = tempfile.mkdtemp(prefix="fashion-metrics-")
    from fashion.server.security.authentication import LoginLimits

    _check_address(settings)
    model = ServedModel(artifact, backend)
    if artifact == PRETRAINED:
        log.info("nothing is trained yet: this is the model that comes with the project", path=str(model.path))
    LoginLimits(settings.redis_url)
    accounts = Accounts(settings.database_url)
    accounts.upgrade()
    _check_accounts(settings, accounts)
    accounts.database.close()
    try:
        Server(settings, model).run()
    except SystemExit as stopped:
        if stopped.code == Arbiter.WORKER_BOOT_ERROR:  # the worker has said why
            sys.exit(WRONG_INPUT)
        raise


class Server(BaseApplication):
    """gunicorn, configured by code alone.

    Args:
        settings: What was set.
        model: Verified; each worker loads it after the fork.
    """

    def __init__(self, settings: Settings, model: ServedModel) -> None:
        self.settings = settings
        self.model = model
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        values = {
            "bind": f"{host}:{self.settings.port}",
            "workers": self.settings.processes,
            "worker_class": Worker,
            "threads": CONNECTION_THREADS,
            "worker_connections": CONNECTIONS,
            "keepalive": 15,
            "child_exit": _forget_gauges,
            "on_exit": _remove_metrics,
            "logger_class": GunicornLogger,
            "control_socket_disable": True,
            # X-Forwarded-Proto is believed by ``trusted_proxies`` alone.
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Make the application of a worker, which answers while its model is being loaded."""
        from fashion.preprocessing.limits import use_one_opencv_thread
        from fashion.server.app import create_app
        from fashion.server.storage.request_log import RequestLog

        sys.setswitchinterval(SWITCH_SECONDS)
        use_one_opencv_thread()
        accounts = Accounts(self.settings.database_url)
        app = create_app(self.settings, self.model, accounts, RequestLog(accounts.database))
        threading.Thread(target=self._load_model, name="load-model", daemon=True).start()
        return app

    def _load_model(self) -> None:
        try:
            self.model.load()
        except FashionError as error:
            print(f"error: {error}", file=sys.stderr)
        except Exception:  # noqa: BLE001  # told, and ends the server
            traceback.print_exc()
        else:
            gc.collect()
            gc.freeze()  # a look for garbage among what was loaded would stop all threads for half a second
            log.info("ready", pid=os.getpid())
            return
        # gunicorn stops all, instead of starting workers for ever, when one ends with this status.
        sys.stderr.flush()
        os._exit(Arbiter.WORKER_BOOT_ERROR)


class GunicornLogger(Logger):
    """gunicorn's own messages, by the handlers of this process; requests are logged by the application."""

    def setup(self, cfg: Any) -> None:
        """Leave formatting and writing to the root logger."""
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)


def configure_logging() -> None:
    """Write every message of this process, of whatever library, as one line of JSON on standard error."""
    before: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    after: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*before, *after],
        logger_factory=_Line,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after]
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)


class _Line:
    """Writes each message in one system call.

    structlog's own loggers hold a lock while they write. A thread that writes gives Python's lock away, and waits up
    to 5 ms to get it back: with the other lock in hand, it makes all others wait too.
    """

    def __init__(self, *name: str) -> None:
        pass

    def msg(self, message: str) -> None:
        os.write(sys.stderr.fileno(), f"{message}\n".encode())

    debug = info = warning = error = critical = exception = msg


def _forget_gauges(arbiter: Arbiter, worker: Worker) -> None:
    if METRICS_FOLDER in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)


def _remove_metrics(arbiter: Arbiter) -> None:
    if METRICS_FOLDER in os.environ:
        shutil.rmtree(os.environ[METRICS_FOLDER], ignore_errors=True)


def _check_address(settings: Settings) -> None:
    """Listen for a moment; gunicorn would try for five seconds, in ten lines.

    Raises:
        InputError: When the port is taken or forbidden, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise InputError(
            f"server.host={settings.host} server.port={settings.port}: cannot listen there ({error.strerror}); "
            "choose another, or stop what does"
        ) from None


def _check_accounts(settings: Settings, accounts: Accounts) -> None:
    """Make the default account on a machine's own address; refuse to start with it, or with none, on another.

    Raises:
        InputError: When the world would have a key, or nobody would.
    """
    if settings.on_loopback:
        accounts.create_default()
        if accounts.has_default_account():
            log.warning(
                f"anyone on this machine can log in as {DEFAULT_NAME} with the password {DEFAULT_PASSWORD}; "
                f"change it: python scripts/users.py passwd {DEFAULT_NAME}"
            )
        return
    where = f"server.host={settings.host}" + (
        f" behind {settings.trusted_proxies} trusted proxies" if settings.trusted_proxies else ""
    )
    if accounts.has_default_account():
        raise InputError(
            f"{where}: the account {DEFAULT_NAME} still has the password {DEFAULT_PASSWORD}, expected one of your own; "
            f"set it with python scripts/users.py passwd {DEFAULT_NAME}, or listen on 127.0.0.1"
        )
    if not accounts.all():
        raise InputError(f"{where}: there are no accounts; make one with python scripts/users.py add NAME")
