"""``callbacks=mlflow``: the run in an MLflow store, which ``mlflow ui`` shows."""

import os
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

# Before MLflow is imported: it reports its use to its makers, and refuses the stores that are folders, unless told so.
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_ALLOW_FILE_STORE="true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
try:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException
except ModuleNotFoundError as error:
    raise ImportError(f"{error}; scripts/setup_venv.py --extra mlflow brings it") from None

from fashion.errors import InputError
from fashion.files import write_text
from fashion.paths import OUTPUTS
from fashion.runs.identity import comparable, flat
from fashion.runs.run_record import Run
from fashion.training.tracking import Tracker

FOLDER = OUTPUTS / "mlflow"
RUN_ID_FILE = "mlflow_run.txt"
LONGEST_VALUE = 6000  # characters, of a parameter in MLflow
MOST_AT_A_TIME = 100  # parameters in one request
STATUSES = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflow(Tracker):
    """Keep the resolved configuration as parameters, each epoch's metrics, and the figures as artifacts.

    MLflow's own ``MLFLOW_EXPERIMENT_NAME`` names the experiment, ``fashion`` if it is not set; a sweep sets it for its
    jobs, so that they stand in one.

    Args:
        store: The tracking URI; None is ``MLFLOW_TRACKING_URI``, or else a SQLite file in ``outputs``.
    """

    def __init__(self, store: str | None) -> None:
        super().__init__()
        self.store = store or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{FOLDER / 'mlflow.db'}"

    def run_begins(self, run: Run) -> None:
        """Begin a run in MLflow, or go on with the one that an interrupted run began.

        Raises:
            InputError: When the store cannot be opened.
        """
        FOLDER.mkdir(parents=True, exist_ok=True)
        known = run.folder / RUN_ID_FILE
        try:
            # Jobs that start together would each make the tables of a new store.
            with FileLock(FOLDER / ".lock"):
                self.client = MlflowClient(self.store)
                if known.is_file():
                    self.run_id = known.read_text(encoding="utf-8").strip()
                    self.client.update_run(self.run_id, status="RUNNING")
                    return
                experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or "fashion")
            self.run_id = self.client.create_run(experiment, run_name=run.folder.name).info.run_id
            self._describe(run)
        except MlflowException as error:
            raise InputError(f"callbacks.mlflow.store: got {self.store}, which cannot be used: {error}") from error
        write_text(known, self.run_id)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep the epoch's metrics, under its number from 1."""
        self._log({name: float(value) for name, value in (logs or {}).items()}, step=epoch + 1)

    def run_ends(self, run: Run, status: str) -> None:
        """Keep the run's metrics, its figures and its card, and close it."""
        self._log(run.metrics)
        for path in sorted(run.folder.glob("*.png")):
            self.client.log_artifact(self.run_id, str(path), "figures")
        for name in ("report.html", "fashion_mnist_model.json"):
            if (run.folder / name).is_file():
                self.client.log_artifact(self.run_id, str(run.folder / name))
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

    def _describe(self, run: Run) -> None:
        values = flat(comparable(run.config))
        params = [Param(name, str(value)[:LONGEST_VALUE]) for name, value in values.items()]
        tags = [RunTag("folder", str(Path(run.folder).absolute()))]
        for start in range(0, len(params), MOST_AT_A_TIME):
            self.client.log_batch(self.run_id, params=params[start : start + MOST_AT_A_TIME], tags=tags)

    def _log(self, metrics: dict[str, Any], step: int = 0) -> None:
        now = round(1000 * time.time())
        self.client.log_batch(self.run_id, metrics=[Metric(name, value, now, step) for name, value in metrics.items()])
