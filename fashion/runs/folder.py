"""The folder of a run: the name of every file in it, and the one reader and writer of each.

::

    NAME_model.keras, .json            the artifact: the model and its card (``fashion.artifact``)
    best.keras                         the best epoch's model (named in ``configs/callbacks/default.yaml``)
    history.csv                        one line for each epoch
    resume.npz                         everything to resume from; removed once the run is completed
    run.json                           when, where and with what it ran, and the overrides it was started with
    result.json                        how it ended: its absence means that it runs, or was killed
    report.html, metrics.json          the test images' evaluation (``fashion.evaluation.report``)
    training_curves.png                loss and accuracy by epoch
    skipped_images.csv                 files of the data that cannot be read (``data.on_bad_image=skip``)
    validation_predictions.npz         in a fold of cross-validation (data.folds): what its model predicts for the fold
    confusion_matrix.png               of the test images
    train.log                          what the terminal showed, with times (``configs/hydra/job_logging``)
    mlflow_run.txt                     the run's id in MLflow
    .hydra/                            Hydra's own copy of the configuration; hydra.output_subdir=null leaves it out
    .lock                              held while a process trains here (``fashion.files.exclusive_lock``)

In a job of a sweep also:

::

    output.log                         what the job's process printed
    prune                              the search asks for the job's end
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import yaml

from fashion.card import model_file
from fashion.config.nodes import ResolvedConfig
from fashion.data.dataset import SkippedFile
from fashion.errors import InputError
from fashion.files import exclusive_lock, refuse_busy, remove_partial_files, replacing, write_json, write_text
from fashion.runs.predictions import ValidationPredictions
from fashion.runs.result import EndStatus, RunResult
from fashion.runs.resume_state import ResumeState, TrainingProgress
from fashion.runs.run_record import RunRecord

# What evaluate.py writes too, into folders that are not a run's.
REPORT_FILE, METRICS_FILE, CONFUSION_MATRIX_FILE = "report.html", "metrics.json", "confusion_matrix.png"

_Content = TypeVar("_Content", dict[str, Any], list[Any])

RunStatus = Literal["waiting", "running", "pruned"] | EndStatus

_RESULT_FILE, _RECORD_FILE, _HISTORY_FILE = "result.json", "run.json", "history.csv"
_STATE_FILE, _BEST_FILE = "resume.npz", "best.keras"
_OVERRIDES_FILE = Path(".hydra", "overrides.yaml")
_CONFIG_FILE, _HYDRA_FILE = Path(".hydra", "config.yaml"), Path(".hydra", "hydra.yaml")
_PREDICTIONS_FILE = "validation_predictions.npz"
_SKIPPED_FILE = "skipped_images.csv"
_OUTPUT_FILE, _PRUNE_FILE, _MLFLOW_FILE = "output.log", "prune", "mlflow_run.txt"


class RunFolder:
    """A run on disk, or the place for one.

    Args:
        path: The folder, which may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def model(self) -> Path:
        """The model file of the artifact."""
        return model_file(self.path)

    @property
    def card(self) -> Path:
        """The card beside the model."""
        return self.model.with_suffix(".json")

    @property
    def report(self) -> Path:
        """The page about the test images."""
        return self.path / REPORT_FILE

    @property
    def training_curves(self) -> Path:
        """The figure of loss and accuracy by epoch."""
        return self.path / "training_curves.png"

    @property
    def confusion_matrix(self) -> Path:
        """The figure of the test images' confusion matrix."""
        return self.path / CONFUSION_MATRIX_FILE

    @property
    def resume_state(self) -> Path:
        """Where the state of an unfinished run is stored; its presence means that the run can be resumed."""
        return self.path / _STATE_FILE

    @property
    def output(self) -> Path:
        """What the process of a sweep's job printed."""
        return self.path / _OUTPUT_FILE

    def status(self) -> RunStatus:
        """Return how the run is doing; one that was killed counts as running."""
        result = self.read_result()
        ended = result.status if result else None
        if ended in {"interrupted", None} and self.prune_requested:
            return "pruned" if ended or not self.started else "running"
        return ended or ("running" if self.started else "waiting")

    @property
    def finished(self) -> bool:
        """Whether the folder holds a completed run, or a trained model that was copied here."""
        return self.status() == "completed" or (self.model.exists() and not self.resume_state.exists())

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other processes from training in the folder while the block runs.

        Raises:
            FolderBusyError: When another process trains there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        return exclusive_lock(self.path)

    def refuse_if_busy(self) -> None:
        """Raise where another process trains in the folder; nothing is created there.

        Raises:
            FolderBusyError: When another process trains there.
        """
        refuse_busy(self.path)

    def clear_for_start(self, *, overwrite: bool = False) -> None:
        """Remove the result of an earlier start, and what a process that was killed while it wrote has left.

        Args:
            overwrite: Whether a new run replaces the earlier one; its resume state and history are then removed too.
                Its last model and report stay until the new ones replace them.
        """
        self.remove_result()
        remove_partial_files(self.path)
        if overwrite:
            self.remove_resume_state()
            for name in (_HISTORY_FILE, _PREDICTIONS_FILE, _MLFLOW_FILE, _BEST_FILE):
                (self.path / name).unlink(missing_ok=True)

    def read_result(self) -> RunResult | None:
        """Return how the run ended; None while it runs, or when it was killed."""
        try:
            return RunResult.model_validate(_read_json(self.path / _RESULT_FILE))
        except (OSError, ValueError):  # pydantic's error is a ValueError
            return None

    def write_result(self, result: RunResult) -> None:
        """Write how the run ended."""
        write_json(self.path / _RESULT_FILE, result.model_dump(exclude_none=True))

    def remove_result(self) -> None:
        """Forget how the run ended: it starts again."""
        (self.path / _RESULT_FILE).unlink(missing_ok=True)

    def read_record(self) -> RunRecord:
        """Return when, where and how the run ran; an empty record before it starts."""
        try:
            return RunRecord.model_validate(_read_json(self.path / _RECORD_FILE))
        except (OSError, ValueError):
            return RunRecord()

    def write_record(self, record: RunRecord) -> None:
        """Write when, where and how the run ran."""
        write_json(self.path / _RECORD_FILE, record.model_dump())

    def write_skipped(self, files: Sequence[SkippedFile]) -> None:
        """Write which files of the data are left out, and why; remove the list where none is."""
        path = self.path / _SKIPPED_FILE
        if not files:
            path.unlink(missing_ok=True)
            return
        with (
            replacing(path) as partial,
            partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out,
        ):
            csv.writer(out, lineterminator="\n").writerows([SkippedFile._fields, *files])

    def read_metrics(self) -> dict[str, Any]:
        """Return what the evaluation measured, as ``fashion.evaluation.report`` wrote it.

        Raises:
            InputError: When the run was not evaluated.
        """
        try:
            return dict(_read_json(self.path / METRICS_FILE))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path / METRICS_FILE}: cannot be read ({error}); run it again") from None

    def read_history(self) -> dict[str, list[float]]:
        """Return each metric's value after each epoch; empty before the first one has ended."""
        try:
            rows = list(csv.DictReader((self.path / _HISTORY_FILE).read_text(encoding="utf-8").splitlines()))
        except OSError:
            return {}
        return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else {}) if name != "epoch"}

    def write_history(self, history: Mapping[str, Sequence[float]]) -> None:
        """Write each metric's value after each epoch, epochs counted from 1."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["epoch", *history])
        writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*history.values(), strict=True), start=1))
        write_text(self.path / _HISTORY_FILE, table.getvalue())

    def read_validation_predictions(self) -> ValidationPredictions | None:
        """Return what a fold's model predicts for its validation images; None where that is not known.

        Raises:
            InputError: When the file is damaged.
        """
        with _arrays(self.path / _PREDICTIONS_FILE, "run this fold again") as stored:
            return stored and ValidationPredictions(**{name: stored[name] for name in ValidationPredictions._fields})

    def write_validation_predictions(self, predictions: ValidationPredictions) -> None:
        """Write what a fold's model predicts for its validation images.

        Raises:
            WriteError: When it cannot be written.
        """
        with replacing(self.path / _PREDICTIONS_FILE) as partial:
            np.savez_compressed(partial, **predictions._asdict())

    def read_progress(self) -> TrainingProgress | None:
        """Return how far an unfinished run is; None where none has finished an epoch.

        Raises:
            InputError: When the file is damaged.
        """
        with _arrays(self.resume_state, "remove it to start the run from the beginning") as stored:
            return stored and TrainingProgress.model_validate(json.loads(str(stored["about"])))

    def read_resume_state(self) -> ResumeState | None:
        """Return the state of an unfinished run; None where none has finished an epoch.

        Raises:
            InputError: When the file is damaged.
        """
        progress = self.read_progress()
        if progress is None:
            return None
        with np.load(self.resume_state, allow_pickle=False) as stored:
            return ResumeState(progress, {name: stored[name] for name in stored.files if name != "about"})

    def write_resume_state(self, state: ResumeState) -> None:
        """Write the state at the end of an epoch.

        Raises:
            WriteError: When it cannot be written; the state of the previous epoch is intact.
        """
        about = np.array(json.dumps(state.progress.model_dump()))
        with replacing(self.resume_state) as partial:
            np.savez(partial, about=about, **state.arrays)  # type: ignore[arg-type]

    def remove_resume_state(self) -> None:
        """Remove the state: the run is completed."""
        self.resume_state.unlink(missing_ok=True)

    @property
    def started(self) -> bool:
        """Whether a command has ever started a run here."""
        return (self.path / _RECORD_FILE).exists() or (self.path / _OVERRIDES_FILE.parent).exists()

    @property
    def started_at(self) -> float | None:
        """When a command last started or ended the run, in seconds since the epoch; None before that."""
        files = (self.path / _RECORD_FILE, self.path / _OVERRIDES_FILE)
        return max((file.stat().st_mtime for file in files if file.exists()), default=None)

    def read_overrides(self) -> list[str]:
        """Return the overrides the run was started with.

        Hydra's copy is read where the run has not recorded them: it was killed before, or is of release 1.0.

        Raises:
            InputError: When there are none, or the file is damaged.
        """
        recorded = self.read_record().overrides
        if recorded is not None:
            return recorded
        return [str(override) for override in self._read_yaml(_OVERRIDES_FILE, list)]

    def read_config(self) -> ResolvedConfig:
        """Return the configuration the run was started with; in Hydra's copy interpolations are not filled in.

        Raises:
            InputError: When there is none, or the file is damaged.
        """
        progress = None if (self.path / _CONFIG_FILE).exists() else self.read_progress()
        return dict(progress.config if progress else self._read_yaml(_CONFIG_FILE, dict))

    def read_training_config(self) -> ResolvedConfig:
        """Return the configuration of a training.

        Raises:
            InputError: When there is none, or the file is damaged.
        """
        config = self.read_config()
        if not isinstance(config.get("trainer"), dict):  # cut off between two groups, it still reads as a mapping
            raise self._damaged(_CONFIG_FILE)
        return config

    @property
    def has_config(self) -> bool:
        """Whether the configuration is stored: without Hydra's copy it is after the first epoch."""
        return (self.path / _CONFIG_FILE).exists() or self.resume_state.exists()

    def read_hydra(self) -> ResolvedConfig | None:
        """Return Hydra's own configuration of the run; None where it is not stored.

        Raises:
            InputError: When the file is damaged.
        """
        if not (self.path / _HYDRA_FILE).exists():
            return None
        hydra = self._read_yaml(_HYDRA_FILE, dict).get("hydra")
        if not isinstance(hydra, dict) or "runtime" not in hydra:
            raise self._damaged(_HYDRA_FILE)
        return hydra

    def _read_yaml(self, name: Path, kind: type[_Content]) -> _Content:
        """Return what a file of Hydra's has; it may have been cut off, as Hydra does not write it atomically."""
        try:
            content = yaml.safe_load((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{self.path}: is not the folder of a run (it has no {name})") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise self._damaged(name) from None
        if not isinstance(content, kind):
            raise self._damaged(name)
        return content

    def _damaged(self, name: Path) -> InputError:
        return InputError(f"{self.path / name}: is damaged; start a new run")

    @property
    def prune_requested(self) -> bool:
        """Whether the search of a sweep has asked for the end of this job."""
        return (self.path / _PRUNE_FILE).exists()

    def request_prune(self) -> None:
        """Ask for the end of this job, wherever it runs."""
        self.path.mkdir(exist_ok=True)
        (self.path / _PRUNE_FILE).touch()

    def read_mlflow_run(self) -> str | None:
        """Return the run's id in MLflow, if it has one."""
        with suppress(FileNotFoundError):
            return (self.path / _MLFLOW_FILE).read_text(encoding="utf-8").strip()
        return None

    def write_mlflow_run(self, run_id: str) -> None:
        """Write the run's id in MLflow."""
        write_text(self.path / _MLFLOW_FILE, run_id)


def job_folders(sweep: Path) -> dict[int, RunFolder]:
    """Return the folders of a sweep in which jobs have started, by the jobs' numbers."""
    numbered = {int(path.name): RunFolder(path) for path in sweep.glob("*") if path.name.isdecimal()}
    return {number: folder for number, folder in sorted(numbered.items()) if folder.started}


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def _arrays(path: Path, remedy: str) -> Iterator[Any]:
    """Open a file of arrays while the block reads it; None where there is no such file.

    Raises:
        InputError: When the file is damaged, with what to do then.
    """
    if not path.is_file():
        yield None
        return
    try:
        # np.load leaves a file open that it opened by its path and found to be damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            yield stored
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is damaged ({error}); {remedy}") from None
