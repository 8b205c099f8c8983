"""The master process: it checks everything that can be checked, then forks workers, each with its own model."""

import gc
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from fashion.backend.selection import Backend
from fashion.cli import WRONG_INPUT
from fashion.errors import FashionError, InputError
from fashion.paths import PRETRAINED
from fashion.server.environment import FirstPassword, platform_routes
from fashion.server.process.json_logging import GunicornLogger, configure_logging
from fashion.server.process.log_output import LogOutput
from fashion.server.process.worker import TimeLimitedWorker
from fashion.server.security.login_limits import LoginLimits
from fashion.server.service.served_model import ServedModel
from fashion.server.settings import Settings
from fashion.server.storage.accounts import DEFAULT_NAME, DEFAULT_PASSWORD, Accounts
from fashion.server.storage.prediction_history import PredictionHistory

if TYPE_CHECKING:
    from fashion.server.services import Application

# Threads for reading and writing: many, since a slow client occupies one. Admission control limits what computes.
CONNECTION_THREADS = 256
MAX_CONNECTIONS = 1000
# How long a thread may run while another waits for Python's global lock. A response passes through some threads; with
# Python's default of 5 ms, each could lose that long to the thread that writes the request log. A conjecture: the 99th
# percentile of response times, compared on a busy machine, neither confirms nor refutes it.
SWITCH_INTERVAL_SECONDS = 0.0005
# How long accepted requests are answered after SIGTERM, and when a worker is killed that has not ended by then: later,
# so that it can store its last requests, and within the 40 seconds or more that deploy/ waits for the whole server.
STOP_SECONDS, KILL_SECONDS = 30, 38
PRUNE_INTERVAL_SECONDS = 3600
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

log = structlog.get_logger("fashion.server")


def serve(artifact: Path, backend: Backend, settings: Settings, first_password: FirstPassword | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Mistakes are found here, before the first worker is forked, so that each is reported once and in one line. Keras and
    JAX are not imported in this process: forking JAX's threads would deadlock.

    Args:
        artifact: A ``.keras`` file with its card beside it, or a run folder.
        backend: The Keras backend that computes.
        settings: The server's settings.
        first_password: The password of the account ``admin``, which is created if there is none.

    Raises:
        InputError: If the model, the database, an account or a setting is wrong.
    """
    if settings.processes > 1 and settings.redis_url is None:
        raise InputError(
            f"server.redis_url: got null with server.processes={settings.processes}, expected a Redis "
            "(redis://HOST:PORT/0) in which the processes count failed log-ins together"
        )
    routes = platform_routes(settings.platform)
    log_output = configure_logging()
    _check_address(settings)
    model = ServedModel(artifact, backend, settings.runtime)
    if model.chosen_because:
        log.info(f"server.runtime=auto: {model.runtime} ({model.chosen_because})")
    if artifact == PRETRAINED:
        log.info("no model is trained yet, serving the pretrained one", path=str(model.path))
    LoginLimits(settings.redis_url)
    accounts = Accounts(settings.database_url)
    accounts.upgrade()
    if first_password is not None:
        _create_first_account(accounts, first_password)
    _check_accounts(settings, accounts)
    if routes is not None:
        log.warning(
            f"GET {routes.health} and POST {routes.predict} are open without a log-in to everyone who can reach "
            f"{settings.host}:{settings.port}; any other request for a prediction needs an account"
        )
    accounts.database.close()
    os.environ.pop(METRICS_FOLDER, None)  # another program's, which is not to be deleted at the end
    if settings.processes > 1:
        # Read by prometheus_client when it is imported, as late as in the workers.
        os.environ[METRICS_FOLDER] = tempfile.mkdtemp(prefix="fashion-metrics-")
    try:
        GunicornServer(settings, model, log_output).run()
    except SystemExit as stopped:
        if stopped.code == Arbiter.WORKER_BOOT_ERROR:  # the worker has said why
            sys.exit(WRONG_INPUT)
        raise


class GunicornServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no annotations
    """gunicorn, configured in code only.

    Args:
        settings: The server's settings.
        model: The verified model; each worker loads it after the fork.
        log_output: Where the processes log to.
    """

    def __init__(self, settings: Settings, model: ServedModel, log_output: LogOutput) -> None:
        self.settings = settings
        self.model = model
        self.log_output = log_output
        super().__init__()

    def load_config(self) -> None:
        """Override gunicorn's defaults."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        values = {
            "bind": f"{host}:{self.settings.port}",
            "workers": self.settings.processes,
            "worker_class": TimeLimitedWorker,
            "threads": CONNECTION_THREADS,
            "worker_connections": MAX_CONNECTIONS,
            "keepalive": 15,
            "graceful_timeout": KILL_SECONDS,
            "post_worker_init": _limit_stop,
            "worker_exit": _close_request_log,
            "child_exit": _forget_worker,
            "on_exit": _remove_metrics,
            "logger_class": GunicornLogger,
            "control_socket_disable": True,
            # X-Forwarded-Proto is for ``trusted_proxies`` to trust, not for gunicorn.
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Create the application of a worker, which already answers while its model is being loaded."""
        from fashion.preprocessing.limits import use_one_opencv_thread
        from fashion.server.app import create_app
        from fashion.server.storage.request_log import RequestLog

        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        use_one_opencv_thread()
        accounts = Accounts(self.settings.database_url)
        app = create_app(self.settings, self.model, accounts, RequestLog(accounts.database))
        self.log_output.on_loss = app.services.monitor.metrics.log_lines_dropped.inc
        threading.Thread(target=self._load_model, name="load-model", daemon=True).start()
        threading.Thread(target=_prune_hourly, args=(app.services.history,), name="prune", daemon=True).start()
        return app

    def _load_model(self) -> None:
        try:
            self.model.load()
        except FashionError as error:
            print(f"error: {error}", file=sys.stderr)
        except Exception:  # noqa: BLE001  # reported, and ends the server
            traceback.print_exc()
        else:
            gc.collect()
            gc.freeze()  # collecting garbage among the loaded objects would stop all threads for half a second
            model = self.model
            log.info(
                "ready", pid=os.getpid(), model=model.name, version=model.version, architecture=model.card.architecture
            )
            return
        # With this status gunicorn stops, instead of restarting the worker for ever.
        self.log_output.drain()
        os._exit(Arbiter.WORKER_BOOT_ERROR)


def _limit_stop(worker: TimeLimitedWorker) -> None:
    worker.cfg.set("graceful_timeout", STOP_SECONDS)  # in this process; gunicorn has one setting for both


def _prune_hourly(history: PredictionHistory) -> None:
    while True:
        history.prune()
        time.sleep(PRUNE_INTERVAL_SECONDS)


def _close_request_log(arbiter: Arbiter, worker: TimeLimitedWorker) -> None:
    """Store the last requests of a worker that ends."""
    application: Application | None = getattr(worker, "wsgi", None)  # missing if it could not be created
    if application is not None:
        application.services.monitor.request_log.close()


def _forget_worker(arbiter: Arbiter, worker: TimeLimitedWorker) -> None:
    if METRICS_FOLDER in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _remove_metrics(arbiter: Arbiter) -> None:
    if METRICS_FOLDER in os.environ:
        shutil.rmtree(os.environ[METRICS_FOLDER], ignore_errors=True)


def _check_address(settings: Settings) -> None:
    """Listen for a moment; gunicorn would retry for five seconds and report the failure in ten lines.

    Raises:
        InputError: If the port is taken or forbidden, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise InputError(
            f"server.host={settings.host} server.port={settings.port}: cannot listen there ({error.strerror}); "
            "choose another port or address, or stop the program that uses it"
        ) from None


def _create_first_account(accounts: Accounts, first: FirstPassword) -> None:
    if accounts.create_first(first.password):
        log.info(f"the account {DEFAULT_NAME} was created with the password of {first.variable}")
    else:
        log.info(f"{first.variable} changes nothing, because there are accounts already")


def _check_accounts(settings: Settings, accounts: Accounts) -> None:
    """Create the default account for a loopback address; for any other, require other accounts.

    For a platform there may be none: then nobody can log in, and only what the platform asks is answered.

    Raises:
        InputError: If the default password would be reachable from elsewhere, or no account exists.
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
            f"{where}: the account {DEFAULT_NAME} still has the password {DEFAULT_PASSWORD}, expected another; "
            f"change it with python scripts/users.py passwd {DEFAULT_NAME}, or listen on 127.0.0.1"
        )
    if not accounts.all() and settings.platform is None:
        raise InputError(f"{where}: there are no accounts; add one with python scripts/users.py add NAME")
