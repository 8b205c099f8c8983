import pytest


@pytest.fixture(scope="session")
def smoke_run(run_command, fashion_mnist_root, keras_backend, tmp_path_factory):
    """The folder and the output of ``experiment=smoke`` as a user runs it."""
    folder = tmp_path_factory.mktemp("smoke") / "run"
    run = run_command("train.py", "experiment=smoke", f"trainer.backend={keras_backend}", f"hydra.run.dir={folder}")
    assert run.returncode == 0, run.stderr
    return folder, run
