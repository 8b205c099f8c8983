"""``callbacks=mlflow``: the run in an MLflow store, which ``mlflow ui`` shows."""

import importlib.util
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from filelock import FileLock

from fashion.config.nodes import ResolvedConfig
from fashion.errors import InputError
from fashion.extras import install_command
from fashion.paths import OUTPUTS
from fashion.runs.active_run import ActiveRun
from fashion.runs.identity import comparable, flat
from fashion.runs.result import EndStatus
from fashion.training.tracking import Tracker

if importlib.util.find_spec("mlflow") is None:
    raise ImportError(f"callbacks=mlflow needs MLflow; install it with {install_command('mlflow')}")

log = logging.getLogger(__name__)

STORE_FOLDER = OUTPUTS / "mlflow"
MAX_PARAMETER_LENGTH = 6000  # characters
MAX_PARAMETERS_PER_REQUEST = 100
MAX_METRICS_PER_REQUEST = 1000
RETRIES = 3  # of a request, within a quarter of a minute; MLflow's seven would hold up an epoch for four minutes
STATUSES: dict[EndStatus, str] = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflowTracker(Tracker):
    """Record the resolved configuration as parameters, each epoch's metrics, and the figures as artifacts.

    MLflow's own ``MLFLOW_EXPERIMENT_NAME`` names the experiment, ``fashion`` if it is not set; a sweep sets it for its
    jobs, so that they form one experiment. The training goes on while the store cannot be reached; the metrics of that
    time are logged when it can be again.

    Args:
        store: The tracking URI; None is ``MLFLOW_TRACKING_URI``, or else a SQLite file in ``outputs``.
    """

    def __init__(self, store: str | None) -> None:
        super().__init__()
        self.unsent: list[Any] = []  # metrics
        self.store = store or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE_FOLDER / 'mlflow.db'}"

    def on_run_begin(self, run: ActiveRun) -> None:
        """Begin a run in MLflow, or continue the one that an interrupted run began.

        Raises:
            InputError: When the store cannot be opened.
        """
        self.mlflow = _import_mlflow()
        STORE_FOLDER.mkdir(parents=True, exist_ok=True)
        try:
            # Jobs that start together would each create the tables of a new store.
            with FileLock(STORE_FOLDER / ".lock"):
                self.client = self.mlflow.MlflowClient(self.store)
                known = run.folder.read_mlflow_run()
                if known and (run.config["trainer"]["resume"] or self._has_parameters(known, run.config)):
                    self.run_id = known
                    self.client.update_run(self.run_id, status="RUNNING")
                    return
                experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or "fashion")
            self.run_id = self.client.create_run(experiment, run_name=run.folder.path.name).info.run_id
            self._log_configuration(run.config, run.folder.path)
        except self.mlflow.exceptions.MlflowException as error:
            raise InputError(f"callbacks.mlflow.store: got {self.store}, which cannot be used: {error}") from error
        run.folder.write_mlflow_run(self.run_id)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log the epoch's metrics, epochs counted from 1."""
        try:
            self._log({name: float(value) for name, value in (logs or {}).items()}, step=epoch + 1)
        except self.mlflow.exceptions.MlflowException as error:
            log.warning("callbacks.mlflow: epoch %d is not logged yet (%s)", epoch + 1, str(error).partition("\n")[0])

    def on_run_end(self, run: ActiveRun, status: EndStatus) -> None:
        """Log the run's metrics, its figures, report and card, and close it."""
        self._log(run.metrics)
        for path in sorted(run.folder.path.glob("*.png")):
            self.client.log_artifact(self.run_id, str(path), "figures")
        for path in (run.folder.report, run.folder.card):
            if path.is_file():
                self.client.log_artifact(self.run_id, str(path))
        self.client.set_terminated(self.run_id, STATUSES[status])

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(name, artifact_location=self._artifacts(name)))

    def _artifacts(self, experiment: str) -> str | None:
        """Return where an experiment's files go: beside a SQLite file; other stores have a place of their own."""
        kind, _, path = self.store.partition(":///")
        return (Path(path).absolute().parent / "artifacts" / experiment).as_uri() if kind == "sqlite" else None

    def _has_parameters(self, run_id: str, config: ResolvedConfig) -> bool:
        """Return whether a run has this configuration: its parameters cannot be changed."""
        return bool(self.client.get_run(run_id).data.params == _parameters(config))

    def _log_configuration(self, config: ResolvedConfig, folder: Path) -> None:
        entities = self.mlflow.entities
        params = [entities.Param(name, value) for name, value in _parameters(config).items()]
        tags = [entities.RunTag("folder", str(folder.absolute()))]
        for start in range(0, len(params), MAX_PARAMETERS_PER_REQUEST):
            batch = params[start : start + MAX_PARAMETERS_PER_REQUEST]
            self.client.log_batch(self.run_id, params=batch, tags=tags)

    def _log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        milliseconds = round(1000 * time.time())
        entity = self.mlflow.entities.Metric
        self.unsent += [entity(name, value, milliseconds, step) for name, value in metrics.items()]
        while self.unsent:
            self.client.log_batch(self.run_id, metrics=self.unsent[:MAX_METRICS_PER_REQUEST])
            del self.unsent[:MAX_METRICS_PER_REQUEST]


def _import_mlflow() -> ModuleType:
    """Import MLflow: no usage reports, no refusal of stores that are folders, few messages, few retries.

    MLflow reads these variables while it is imported.
    """
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_ALLOW_FILE_STORE="true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(RETRIES))
    import mlflow

    return mlflow


def _parameters(config: ResolvedConfig) -> dict[str, str]:
    return {name: str(value)[:MAX_PARAMETER_LENGTH] for name, value in flat(comparable(config)).items()}
