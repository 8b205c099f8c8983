"""Two processes that train together, as on two machines: the same result as one, and one end for both."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from services import free_port

from fashion.paths import PROJECT
from fashion.runs.folder import RunFolder

# 95 validation images, which two devices cannot share evenly, and every kind of random draw.
QUICK = (
    *("model=cnn", "model.widths=[8]", "model.dense_units=[16]", "data.limit=950", "trainer.batch_size=50"),
    *("optimizer=sgd", "trainer.epochs=6", "trainer.label_smoothing=0.1"),
)
STARTS_WITHIN = 120
CALLBACK = """
import os
import keras
import numpy as np

class WeightsOfProcess(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
        np.save(os.environ["WEIGHTS"], np.concatenate([weight.ravel() for weight in self.model.get_weights()]))
"""


class Pair:
    """Two processes that train in one folder; ``options`` are the environment variables of each."""

    def __init__(self, folder: Path, *arguments: str, options: Sequence[dict[str, str]] = ({}, {})) -> None:
        command = [sys.executable, "-u", "scripts/train.py", "trainer.distribution=data_parallel", *arguments]
        group = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
        self.folder = folder
        self.processes = [
            subprocess.Popen(
                [*command, *([] if any("resume" in each for each in arguments) else [f"hydra.run.dir={folder}"])],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=PROJECT,
                env={**os.environ, **group, "JAX_PROCESS_ID": str(index), **options[index]},
            )
            for index in range(2)
        ]

    def wait_for_epochs(self, count: int) -> None:
        """Wait until some epochs are complete."""
        until = time.monotonic() + STARTS_WITHIN
        while len(history(self.folder).get("loss", [])) < count:
            assert time.monotonic() < until
            assert self.processes[0].poll() is None, self.end()
            time.sleep(0.02)

    def end(self) -> list[tuple[int, str, str]]:
        """The exit status, standard output and standard error of each."""
        outputs = [process.communicate(timeout=STARTS_WITHIN) for process in self.processes]
        return [(each.returncode, *output) for each, output in zip(self.processes, outputs, strict=True)]


def history(folder: Path) -> dict[str, list[float]]:
    return {name: values for name, values in RunFolder(folder).read_history().items() if name != "seconds"}


@pytest.fixture(scope="module")
def trained(starts_processes, fashion_mnist_root, keras_backend, tmp_path_factory):
    """The folder of a complete run of two processes."""
    if keras_backend != "jax":
        pytest.skip("keras.distribution is complete on JAX only; a test of the checks asserts the refusal")
    folder = tmp_path_factory.mktemp("together")
    (folder / "weights_of_process.py").write_text(CALLBACK)
    options = [
        {"WEIGHTS": f"{folder}/{index}.npy", "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        for index in range(2)
    ]
    weights = "+callbacks.weights._target_=weights_of_process.WeightsOfProcess"
    ends = Pair(folder / "run", *QUICK, weights, options=options).end()
    assert [status for status, *_ in ends] == [0, 0], ends
    return folder, ends


def test_two_processes_train_like_one(run_command, trained, tmp_path):
    folder, _ = trained
    one = run_command("train.py", *QUICK, f"hydra.run.dir={tmp_path}")
    assert one.returncode == 0, one.stderr
    together, alone = history(folder / "run"), history(tmp_path)
    assert len(together["loss"]) == 6
    for name, values in alone.items():  # later, differences in rounding have grown
        assert together[name][:2] == pytest.approx(values[:2], rel=1e-5), name
    assert together["val_loss"] == pytest.approx(alone["val_loss"], rel=5e-3)


def test_two_processes_choose_the_same_images(run_command, starts_processes, keras_backend, tmp_path):
    if keras_backend != "jax":
        pytest.skip("keras.distribution is complete on JAX only; a test of the checks asserts the refusal")
    options = (*QUICK, "trainer.epochs=2", "trainer.hardest_share=0.5", "trainer.hardest_from_epoch=2")
    assert [status for status, *_ in Pair(tmp_path / "two", *options).end()] == [0, 0]
    assert run_command("train.py", *options, f"hydra.run.dir={tmp_path / 'one'}").returncode == 0
    together, alone = history(tmp_path / "two"), history(tmp_path / "one")
    for name, values in alone.items():
        assert together[name] == pytest.approx(values, rel=1e-5), name


def test_both_have_the_same_weights_and_one_alone_writes_and_speaks(trained):
    folder, ends = trained
    assert (folder / "0.npy").read_bytes() == (folder / "1.npy").read_bytes()
    assert ends[1][1:] == ("", "")
    assert ends[0][1].count("test accuracy") == 1
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["run"]
    assert len(json.loads((folder / "run" / "run.json").read_text())["device"].split(", ")) == 2


def test_they_end_resume_and_stop_together(trained, tmp_path):
    folder, _ = trained
    run = tmp_path / "run"
    # A cache of its own: a process that is killed while it stores a program spoils the one that all tests share.
    pair = Pair(run, *QUICK, options=[{"XDG_CACHE_HOME": str(tmp_path)}] * 2)
    pair.wait_for_epochs(1)
    pair.processes[0].kill()
    (killed, *_), (status, _, error) = pair.end()
    assert (killed, status) == (-signal.SIGKILL, 2)
    assert error.startswith("error: ")
    assert error.count("\n") == 1

    pair = Pair(run, f"trainer.resume={run}")
    pair.wait_for_epochs(2)
    pair.processes[1].send_signal(signal.SIGTERM)
    assert [(status, error) for status, _, error in pair.end()] == [(130, "interrupted\n")] * 2
    assert json.loads((run / "result.json").read_text())["status"] == "interrupted"
    for name, values in history(run).items():
        assert values == history(folder / "run")[name][: len(values)], name


def test_a_sweep_is_started_once(run_command, tmp_path):
    several = {"JAX_COORDINATOR_ADDRESS": "127.0.0.1:8476", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    sweep = run_command("train.py", "-m", "optimizer=adam,sgd", f"hydra.sweep.dir={tmp_path}/sweep", **several)
    assert sweep.returncode == 2
    assert sweep.stderr.startswith("error: -m: a sweep starts its own jobs; start it once")
    assert not (tmp_path / "sweep").exists()
