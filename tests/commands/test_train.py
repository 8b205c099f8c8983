"""``python scripts/train.py`` as a user runs it."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from fashion import artifact
from fashion.paths import PROJECT
from fashion.runs.folder import RunFolder

EXPERIMENTS = sorted(file.stem for file in (PROJECT / "configs" / "experiment").glob("*.yaml"))
FILES = {
    "fashion_mnist_model.keras", "fashion_mnist_model.json", "best.keras", "history.csv", "result.json", "run.json",
    "train.log", "training_curves.png", "confusion_matrix.png", "report.html", "metrics.json", ".hydra",
}  # fmt: skip
QUICK = ("model=cnn", "model.widths=[8]", "model.dense_units=[16]", "data.limit=1000", "trainer.batch_size=100")


def result(folder) -> dict:
    return json.loads((folder / "result.json").read_text())


def same_weights(first, second) -> bool:
    pairs = zip(artifact.load(first).model.get_weights(), artifact.load(second).model.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.backend
def test_smoke_writes_everything_and_prints_the_test_accuracy(smoke_run):
    folder, run = smoke_run
    assert {path.name for path in folder.iterdir()} >= FILES
    assert run.stderr == ""
    accuracy = result(folder)["metrics"]["test_accuracy"]
    line = re.search(r"test accuracy +([\d.]+) %  \(95 % interval [\d.]+ to [\d.]+, 1000 images\)", run.stdout)
    assert float(line[1]) == pytest.approx(100 * accuracy, abs=0.006)
    assert run.stdout.count("epoch ") == 2 + 1  # one line each, and "steps an epoch"
    assert result(folder)["status"] == "completed"
    assert "experiment=smoke" in result(folder)["overrides"]


PLAIN_KERAS = """
import json, sys
sys.modules["fashion"] = None  # an import of it fails
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
images = np.load(sys.argv[2]).astype("float32") / 255
np.save(sys.argv[3], np.concatenate([
    keras.ops.convert_to_numpy(model(images[i:i + 500], training=False)) for i in range(0, len(images), 500)]))
print(keras.backend.backend())
"""


@pytest.mark.backend
def test_the_model_is_plain_keras_and_equal_on_both_backends(smoke_run, tmp_path, fashion_mnist_root):
    folder, _ = smoke_run
    from fashion.data.fashion_mnist import fashion_mnist

    data = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)
    np.save(tmp_path / "images.npy", data.test.images)
    answers = {}
    for name in ("jax", "tensorflow"):
        program = [sys.executable, "-c", PLAIN_KERAS, folder / "fashion_mnist_model.keras", tmp_path / "images.npy"]
        environment = {"KERAS_BACKEND": name, "PATH": "", "HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
        output = tmp_path / f"{name}.npy"
        run = subprocess.run([*program, output], capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert run.returncode == 0, run.stderr
        assert run.stdout.split()[-1] == name
        answers[name] = np.load(output)
    assert len(answers["jax"]) == 10_000
    assert np.abs(answers["jax"] - answers["tensorflow"]).max() <= 1e-4


def start(folder, *overrides) -> subprocess.Popen:
    command = [sys.executable, str(PROJECT / "scripts" / "train.py"), *overrides, f"hydra.run.dir={folder}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT)


def wait_until(reached, process, what, timeout=240) -> None:
    """Wait until `reached()` while the process runs."""
    until = time.monotonic() + timeout
    while not reached():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(f"no {what}: {process.communicate()[0]}")
        time.sleep(0.02)


def wait_for_epoch(process, folder, number) -> None:
    """Wait until an epoch is in the history, which is written before the state is."""
    history = folder / "history.csv"
    wait_until(lambda: history.exists() and len(history.read_text().splitlines()) > number, process, f"epoch {number}")


@pytest.mark.backend
def test_a_killed_run_resumes_to_the_same_weights(run_command, keras_backend, tmp_path):
    # A folder whose name Hydra's grammar would stumble over, unquoted.
    whole, killed = tmp_path / "whole", tmp_path / "killed, it's = {odd}"
    options = (*QUICK, f"trainer.backend={keras_backend}", "trainer.epochs=6")
    assert run_command("train.py", *options, f"hydra.run.dir={whole}").returncode == 0
    quoted = str(killed).replace("'", "\\'")
    place = (f"hydra.run.dir='{quoted}'", "hydra.output_subdir=null")  # without Hydra's copy of the configuration
    command = [sys.executable, str(PROJECT / "scripts" / "train.py"), *options, *place]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT)
    wait_for_epoch(process, killed, 2)
    process.kill()
    process.communicate()
    assert not (killed / "result.json").exists()
    assert not (killed / "fashion_mnist_model.keras").exists()
    resumed = run_command("train.py", f"trainer.resume={killed}")
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r"resuming after epoch \d", resumed.stdout)
    assert same_weights(whole, killed)
    assert result(whole)["metrics"] == result(killed)["metrics"]
    again = run_command("train.py", f"trainer.resume={killed}")
    assert again.returncode == 2
    assert "is completed; there is nothing to resume" in again.stderr
    before = {path.name: path.stat().st_mtime_ns for path in killed.iterdir()}
    fresh = run_command("train.py", *options, *place)
    assert fresh.returncode == 2
    assert re.fullmatch(r"error: .*: there is a finished run; choose another .*trainer\.overwrite=true\n", fresh.stderr)
    assert {path.name: path.stat().st_mtime_ns for path in killed.iterdir()} == before


@pytest.fixture
def killed_run(keras_backend, tmp_path):
    """The folder of a run that was killed after two of its epochs."""
    folder = tmp_path / "run"
    process = start(folder, *QUICK, f"trainer.backend={keras_backend}", "trainer.epochs=200", "callbacks=none")
    wait_for_epoch(process, folder, 2)
    process.kill()
    process.communicate()
    return folder


def test_a_refused_command_leaves_an_unfinished_run_unchanged(run_command, killed_run):
    refused = [
        (
            [f"trainer.resume={killed_run}", "optimizer.learning_rate=0.5"],
            "optimizer.learning_rate: got 0.5, but the run",
        ),
        (
            [f"trainer.resume={killed_run}", "model=resnet", "trainer.seed=0"],
            "model: got resnet, but the run to resume has cnn",
        ),
        ([f"trainer.resume={killed_run}", "trainer.epochs=1"], "trainer.epochs: got 1, but the run to resume has 200"),
        ([f"hydra.run.dir={killed_run}", *QUICK], "there is an unfinished run; resume it with trainer.resume="),
        (["-m", f"trainer.resume={killed_run}"], "trainer.resume: cannot be combined with --multirun"),
        (["trainer.resume="], "trainer.resume: got nothing, expected the folder of an unfinished run"),
        (["++trainer.resume=/nowhere"], "trainer.resume: got /nowhere, expected the folder of an unfinished run"),
    ]
    before = {path.name: path.read_bytes() for path in (killed_run / ".hydra").iterdir()}
    for arguments, message in refused:
        run = run_command("train.py", *arguments)
        assert run.returncode == 2, arguments
        assert run.stderr.startswith("error: ")
        assert message in run.stderr
        assert run.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in (killed_run / ".hydra").iterdir()} == before
    finished = len((killed_run / "history.csv").read_text().splitlines()) - 1
    process = start_resumed(killed_run)
    wait_for_epoch(process, killed_run, finished + 1)
    busy = run_command("train.py", f"trainer.resume={killed_run}")
    assert busy.returncode == 2
    assert "another process is training there" in busy.stderr
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output


def start_resumed(folder) -> subprocess.Popen:
    command = [sys.executable, str(PROJECT / "scripts" / "train.py"), f"trainer.resume={folder}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT)


@pytest.mark.parametrize("place", ["hydra.run.dir=", "-m hydra.sweep.dir="])
def test_an_empty_folder_name_is_refused(run_command, place):
    run = run_command("train.py", *place.split(), "model=cnn,resnet" if "-m" in place else "model=cnn")
    assert run.returncode == 2
    assert re.fullmatch(r"error: hydra\.\w+\.dir: got nothing, expected a folder\n", run.stderr)


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="what a process has loaded is read from /proc")
@pytest.mark.parametrize(("stage", "seconds"), [("backend", 0), ("backend", 0.8), ("folder", 0), ("folder", 1.5)])
def test_a_signal_in_start_up_ends_the_command(keras_backend, tmp_path, stage, seconds):
    """JAX's callbacks swallow an exception raised in them; the run must end all the same."""
    folder = tmp_path / "run"
    process = start(folder, *QUICK, f"trainer.backend={keras_backend}", "trainer.epochs=500", "callbacks=none")
    library = {"jax": "jaxlib", "tensorflow": "libtensorflow"}[keras_backend]
    reached = {
        "backend": lambda: library in Path(f"/proc/{process.pid}/maps").read_text(),
        "folder": folder.exists,
    }
    wait_until(reached[stage], process, stage)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output


@pytest.mark.backend
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_cleanly_and_leaves_a_resumable_run(run_command, keras_backend, tmp_path, number):
    folder = tmp_path / "run"
    process = start(folder, *QUICK, f"trainer.backend={keras_backend}", "trainer.epochs=10", "callbacks=none")
    wait_for_epoch(process, folder, 1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopping after this step" in output
    assert f"resume with trainer.resume={folder}" in output
    assert "Traceback" not in output
    assert result(folder)["status"] == "interrupted"
    finished = len((folder / "history.csv").read_text().splitlines()) - 1
    assert finished < 10
    resumed = run_command("train.py", f"trainer.resume={folder}")
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming after epoch {finished}" in resumed.stdout
    assert result(folder)["status"] == "completed"


@pytest.mark.parametrize("choice", ["default", "overfit"])
def test_debugging_configurations_run(run_command, keras_backend, tmp_path, choice):
    options = (f"debug={choice}", "model=cnn", f"trainer.backend={keras_backend}", "trainer.epochs=1")
    run = run_command("train.py", *options, f"hydra.run.dir={tmp_path}")
    assert run.returncode == 0, run.stderr
    assert result(tmp_path)["status"] == "completed"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_how_it_is_run_and_composes(name):
    text = (PROJECT / "configs" / "experiment" / f"{name}.yaml").read_text()
    assert f"python scripts/train.py experiment={name}" in text
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        trainer = compose("train", [f"experiment={name}", "run_folder=x"]).trainer
    assert trainer.epochs > 0 or trainer.linear_probe


@pytest.mark.backend
def test_efficientnetb0_trains(run_command, keras_backend, tmp_path):
    options = ("data.limit=1000", "trainer.epochs=1", "trainer.batch_size=100", f"trainer.backend={keras_backend}")
    run = run_command("train.py", *options, f"hydra.run.dir={tmp_path / 'run'}", timeout=500)
    assert run.returncode == 0, run.stderr
    assert artifact.load(tmp_path / "run").model.name == "efficientnetb0"
    assert np.isfinite(list(result(tmp_path / "run")["metrics"].values())).all()


@pytest.mark.process
def test_a_full_disk_ends_the_run_in_one_line(keras_backend, fashion_mnist_root, tmp_path):
    """The shell limits files to 600 kB; the model is larger."""
    folder = tmp_path / "run"
    options = (
        *QUICK,
        "model.dense_units=[2000]",
        f"trainer.backend={keras_backend}",
        "trainer.epochs=1",
        f"hydra.run.dir={folder}",
    )
    command = f'ulimit -f 600; exec "{sys.executable}" scripts/train.py "$@"'
    run = subprocess.run(["bash", "-c", command, "train", *options], capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 2, run.stderr
    assert re.fullmatch(r"error: .*best\.keras: cannot be written \(File too large\).*\n", run.stderr)
    assert result(folder)["status"] == "failed"
    assert not list(folder.glob("*.keras"))


def test_tensorboard_writes_events_into_the_run(run_command, keras_backend, tmp_path):
    options = (*QUICK, "trainer.epochs=1", f"trainer.backend={keras_backend}", "callbacks=tensorboard")
    run = run_command("train.py", *options, f"hydra.run.dir={tmp_path / 'run'}")
    assert run.returncode == 0, run.stderr
    assert list((tmp_path / "run" / "tensorboard").rglob("events.out.tfevents.*"))


JAX_ALONE = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print("loaded:", sorted({name.partition(".")[0] for name in sys.modules} & {"jax", "tensorflow"}))
"""


@pytest.mark.process
def test_on_jax_tensorflow_is_not_imported(keras_backend, tmp_path):
    if keras_backend != "jax":
        pytest.skip("is about JAX")
    command = [sys.executable, "-c", JAX_ALONE, "scripts/train.py", "experiment=smoke", f"hydra.run.dir={tmp_path}"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "loaded: ['jax']"


def test_two_devices_train_like_one(run_command, keras_backend, tmp_path):
    if keras_backend != "jax":
        pytest.skip("keras.distribution is complete on JAX only; a test of the checks asserts the refusal")
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    for name, distribution in (("one", "single"), ("two", "data_parallel")):
        options = (
            *QUICK,
            "model.dropout=0",
            "augment=none",
            "trainer.epochs=2",
            "data.limit=950",  # 95 validation images, which the last device has to fill
            "trainer.hardest_share=0.5",
            "trainer.hardest_from_epoch=2",
            f"trainer.distribution={distribution}",
        )
        run = run_command("train.py", *options, f"hydra.run.dir={tmp_path / name}", **flags)
        assert run.returncode == 0, run.stderr
    assert json.loads((tmp_path / "two" / "run.json").read_text())["device"] == "cpu:0, cpu:1"
    one, two = (RunFolder(tmp_path / name).read_history() for name in ("one", "two"))
    for metric in ("loss", "val_loss", "val_accuracy"):
        assert two[metric] == pytest.approx(one[metric], rel=1e-4), metric
    odd = run_command("train.py", *QUICK, "trainer.batch_size=25", "trainer.distribution=data_parallel", **flags)
    assert odd.returncode == 2
    assert "trainer.batch_size: got 25, expected a multiple of the 2 devices" in odd.stderr


def test_a_terminal_shows_progress_and_a_file_does_not(smoke_run, keras_backend, fashion_mnist_root, tmp_path):
    _, in_a_pipe = smoke_run
    command = [sys.executable, "scripts/train.py", "experiment=smoke", f"trainer.backend={keras_backend}"]
    reading, writing = pty.openpty()
    with subprocess.Popen([*command, f"hydra.run.dir={tmp_path}"], stdout=writing, cwd=PROJECT) as process:
        os.close(writing)
        shown = b""
        with contextlib.suppress(OSError):  # Linux says so when the other end is closed
            while chunk := os.read(reading, 4096):
                shown += chunk
    os.close(reading)
    assert process.returncode == 0
    assert "━".encode() in shown
    assert "━" not in in_a_pipe.stdout
    assert "━" not in (tmp_path / "train.log").read_text()
