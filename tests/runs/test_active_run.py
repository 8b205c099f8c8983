"""What a run records of its data, and of its end."""

import dataclasses
import errno
import os

import numpy as np
import pytest
from data_sets import fashion_like

from fashion.data.dataset import SkippedFile, Split
from fashion.errors import DiskFullError, FashionError
from fashion.runs.active_run import ActiveRun, recorded
from fashion.runs.folder import RunFolder
from fashion.runs.run_record import Environment

NONE = Split(np.empty((0, 28, 28, 1), np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))


@pytest.fixture
def run(tmp_path) -> ActiveRun:
    return ActiveRun(RunFolder(tmp_path), {"trainer": {"seed": 0}}, [], Environment())


def data(digest: str, *skipped: SkippedFile):
    return dataclasses.replace(fashion_like(NONE, NONE, NONE), digests={"images": digest}, skipped=skipped)


def test_digests_are_in_the_record_and_other_data_is_refused(run):
    run.record_data(data("a"))
    assert run.folder.read_record().data == {"images": "a"}
    run.record_data(data("a"))
    with pytest.raises(FashionError, match="data: the images differ from those that the run to resume was started"):
        run.record_data(data("b"))
    assert run.folder.read_record().data == {"images": "a"}


def test_files_that_are_left_out_are_listed_until_none_is(run, tmp_path):
    run.record_data(data("a", SkippedFile("cat/ä,1.jpg", "is damaged"), SkippedFile("cat/\udcff.png", "is empty")))
    lines = (tmp_path / "skipped_images.csv").read_bytes().splitlines()
    assert lines[:2] == [b"source,reason", '"cat/ä,1.jpg",is damaged'.encode()]
    assert len(lines) == 3
    run.record_data(data("a"))
    assert not (tmp_path / "skipped_images.csv").exists()


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ValueError])
def test_a_full_disk_does_not_hide_how_the_run_ended(run, monkeypatch, ending):
    def refuse(*_):
        raise DiskFullError(os.strerror(errno.ENOSPC))

    run.config |= {"trainer": {"seed": 0, "resume": None, "overwrite": False}, "data": {}, "run_folder": "."}
    monkeypatch.setattr(RunFolder, "write_result", refuse)
    with pytest.raises(ending), recorded(run):
        raise ending
