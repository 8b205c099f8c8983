"""A training does not depend on the service that tracks it."""

import contextlib
import logging
import sqlite3
from types import SimpleNamespace

import keras
import pytest
from mlflow import MlflowClient

from fashion.config.command import training_configuration
from fashion.runs.folder import RunFolder
from fashion.training.mlflow_tracker import MLflowTracker
from fashion.training.tracking import Tracker, notify_trackers


class FailingTracker(Tracker):
    def on_run_end(self, run, status):
        raise ConnectionError("the service is down")


def rename_table(store, old, new):
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")


def test_epochs_that_the_store_did_not_take_are_logged_later(tmp_path, caplog):
    store = tmp_path / "mlflow.db"
    tracker = MLflowTracker(f"sqlite:///{store}")
    folder = RunFolder(tmp_path / "run")
    run = SimpleNamespace(folder=folder, config=training_configuration(folder.path), metrics={"test_accuracy": 0.5})
    with notify_trackers([tracker], run), caplog.at_level(logging.WARNING):
        tracker.on_epoch_end(0, {"loss": 3.0})
        rename_table(store, "metrics", "away")
        tracker.on_epoch_end(1, {"loss": 2.0})
        assert "epoch 2 is not logged yet" in caplog.text
        rename_table(store, "away", "metrics")
        tracker.on_epoch_end(2, {"loss": 1.0})
    client = MlflowClient(tracker.store)
    logged = client.get_metric_history(tracker.run_id, "loss")
    assert [(metric.step, metric.value) for metric in logged] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


def test_a_new_run_in_the_folder_of_one_that_was_given_up_is_another_run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    ids = []
    for override in ("optimizer.learning_rate=10", "optimizer.learning_rate=0.1", "optimizer.learning_rate=0.1"):
        tracker = MLflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}")
        run = SimpleNamespace(folder=folder, config=training_configuration(folder.path, override), metrics={})
        with notify_trackers([tracker], run):
            ids.append(tracker.run_id)
    assert ids[0] != ids[1] == ids[2]
    parameters = MlflowClient(tracker.store).get_run(ids[1]).data.params
    assert parameters["optimizer.learning_rate"] == "0.1"


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ValueError, None])
def test_a_tracker_that_fails_at_the_end_hides_nothing(caplog, ending):
    callbacks = [keras.callbacks.Callback(), FailingTracker()]
    with contextlib.ExitStack() as expected:
        if ending:
            expected.enter_context(pytest.raises(ending))
        with notify_trackers(callbacks, SimpleNamespace()):
            if ending:
                raise ending
    assert "FailingTracker: the end of the run was not recorded (the service is down)" in caplog.text
