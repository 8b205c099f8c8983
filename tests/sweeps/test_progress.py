"""What a sweep says while it runs, read from its jobs' folders as any launcher leaves them."""

import json

import pytest
from omegaconf import OmegaConf

from fashion.sweeps.manifest import PRUNE_FILE, Job, Plan
from fashion.sweeps.progress import Board
from fashion.sweeps.runner import Runner


@pytest.fixture
def runner(tmp_path):
    """A sweep of six jobs, none of which has started."""
    jobs = [Job(number, [f"trainer.seed={number}"], {}) for number in range(6)]
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    return Runner(config, None, None, Plan([], {"objective": "val_accuracy"}, jobs))


def begin(runner, number: int) -> None:
    hydra = runner.jobs[number].folder(runner.folder) / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "overrides.yaml").write_text("")


def end(runner, number: int, status: str, **content) -> None:
    (runner.jobs[number].folder(runner.folder) / "result.json").write_text(json.dumps({"status": status, **content}))


def test_the_line_counts_jobs_and_knows_the_best(runner, capsys):
    board = Board(runner)
    assert board.line() == "0 of 6 done, 0 running, 0 failed"
    for number in range(4):
        begin(runner, number)
    end(runner, 0, "completed", metrics={"val_accuracy": 0.81})
    end(runner, 1, "completed", metrics={"val_accuracy": 0.84})
    end(runner, 2, "failed", metrics={}, error="the loss became nan")
    board.look()
    board.look()
    runner.started -= 30  # three jobs in 30 s, one half done, so the 2.5 that are left take 21 s
    assert board.line() == "2 of 6 done, 1 running, 1 failed; best val_accuracy 0.8400 (#1); about 21 s left"
    assert capsys.readouterr().out.splitlines() == [
        "#0 completed   val_accuracy 0.8100  trainer.seed=0",
        "#1 completed   val_accuracy 0.8400  trainer.seed=1",
        "#2 failed      the loss became nan  trainer.seed=2",
    ]


def test_a_pruned_job_is_done_not_failed(runner):
    board = Board(runner)
    begin(runner, 0)
    end(runner, 0, "interrupted")
    (runner.jobs[0].folder(runner.folder) / PRUNE_FILE).touch()
    board.look()
    assert board.line().startswith("1 of 6 done, 0 running, 0 failed")


def test_what_was_done_before_is_not_told_again(runner, capsys):
    begin(runner, 0)
    end(runner, 0, "completed", metrics={"val_accuracy": 0.81})
    board = Board(runner)
    board.look()
    assert capsys.readouterr().out == ""
    assert board.line() == "1 of 6 done, 0 running, 0 failed; best val_accuracy 0.8100 (#0)"


def test_a_problem_of_the_search_reaches_the_sweep(runner):
    def fails() -> None:
        raise RuntimeError("the database is gone")

    runner.while_running = fails
    board = Board(runner)
    with pytest.raises(RuntimeError, match="the database is gone"), board:
        board.thread.join(10)
