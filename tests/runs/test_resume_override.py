import json
import shutil

import pytest

from fashion.errors import FashionError
from fashion.runs.folder import RunFolder
from fashion.runs.resume_override import check, command_line
from fashion.runs.run_record import RunRecord


@pytest.fixture
def folder(tmp_path):
    """A run that was started with two overrides and killed, in a folder with an awkward name."""
    folder = tmp_path / "it's, {here} = odd"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("- model=cnn\n- trainer.epochs=6\n")
    return folder


def test_nothing_to_resume_is_no_change():
    assert command_line(["model=cnn", "trainer.resume=null"]) == ["model=cnn", "trainer.resume=null"]


def test_a_run_goes_on_with_its_own_overrides_in_its_own_folder(folder):
    quoted = "'" + str(folder).replace("'", "\\'") + "'"
    expected = ["model=cnn", "trainer.epochs=6", "trainer.epochs=8"]
    expected += [f"trainer.resume={quoted}", f"hydra.run.dir={quoted}"]
    assert command_line([f"trainer.resume={folder}", "trainer.epochs=8"]) == expected
    assert command_line([f"trainer.resume={quoted}", "trainer.epochs=8"]) == expected


def test_a_run_resumed_twice_is_resumed_once(folder):
    with (folder / ".hydra" / "overrides.yaml").open("a") as stored:
        stored.write("- trainer.resume=/elsewhere\n")
    arguments = command_line([f"trainer.resume={folder}"])
    assert len([argument for argument in arguments if argument.startswith("trainer.resume=")]) == 1
    assert "/elsewhere" not in str(arguments)


def test_a_run_that_replaced_another_is_resumed_and_replaces_nothing(folder):
    RunFolder(folder).write_record(RunRecord(overrides=["model=cnn", "++trainer.overwrite=true"]))
    shutil.rmtree(folder / ".hydra")  # as hydra.output_subdir=null
    arguments = command_line([f"trainer.resume={folder}"])
    assert [argument for argument in arguments if not argument.startswith(("trainer.resume=", "hydra."))] == [
        "model=cnn"
    ]


def test_resuming_and_replacing_exclude_each_other(folder):
    config = {"trainer": {"resume": str(folder), "overwrite": True}}
    with pytest.raises(FashionError, match=r"trainer\.overwrite: got true with trainer\.resume"):
        check(config, folder)


def test_a_completed_run_is_refused(folder):
    (folder / "result.json").write_text(json.dumps({"status": "completed"}))
    with pytest.raises(FashionError, match="is completed; there is nothing to resume"):
        command_line([f"trainer.resume={folder}"])


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_ended_badly_may_go_on(folder, status):
    (folder / "result.json").write_text(json.dumps({"status": status}))
    assert "model=cnn" in command_line([f"trainer.resume={folder}"])


def test_any_other_folder_is_refused(tmp_path):
    with pytest.raises(FashionError, match="expected the folder of an unfinished run"):
        command_line([f"trainer.resume={tmp_path}"])
