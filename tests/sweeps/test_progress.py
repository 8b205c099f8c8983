"""What a sweep prints while it runs, read from its jobs' folders as any launcher leaves them."""

import json

import pytest
from omegaconf import OmegaConf

from fashion.sweeps.manifest import SweepJob, SweepManifest
from fashion.sweeps.progress import ProgressReporter
from fashion.sweeps.runner import JobRunner


@pytest.fixture
def runner(tmp_path):
    """A sweep of six jobs, none of which has started."""
    jobs = [SweepJob(number, [f"trainer.seed={number}"], {}) for number in range(6)]
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    return JobRunner(config, None, None, SweepManifest([], {"objective": "val_accuracy"}, jobs))


def begin(runner, number: int) -> None:
    hydra = runner.jobs[number].folder(runner.folder).path / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "overrides.yaml").write_text("")


def end(runner, number: int, status: str, **content) -> None:
    folder = runner.jobs[number].folder(runner.folder).path
    (folder / "result.json").write_text(json.dumps({"status": status, **content}))


def test_the_line_counts_jobs_and_names_the_best(runner, capsys):
    reporter = ProgressReporter(runner)
    assert reporter.line() == "0 of 6 done, 0 running, 0 failed"
    for number in range(4):
        begin(runner, number)
    end(runner, 0, "completed", metrics={"val_accuracy": 0.81})
    end(runner, 1, "completed", metrics={"val_accuracy": 0.84})
    end(runner, 2, "failed", metrics={}, error="the loss became nan")
    reporter.update()
    reporter.update()
    runner.started -= 30  # three jobs in 30 s, one half done, so the 2.5 that are left take 21 s
    assert reporter.line() == "2 of 6 done, 1 running, 1 failed; best val_accuracy 0.8400 (#1); about 21 s left"
    assert capsys.readouterr().out.splitlines() == [
        "#0 completed   val_accuracy 0.8100  trainer.seed=0",
        "#1 completed   val_accuracy 0.8400  trainer.seed=1",
        "#2 failed      the loss became nan  trainer.seed=2",
    ]


def test_a_pruned_job_is_done_not_failed(runner):
    reporter = ProgressReporter(runner)
    begin(runner, 0)
    end(runner, 0, "interrupted")
    runner.jobs[0].folder(runner.folder).request_prune()
    reporter.update()
    assert reporter.line().startswith("1 of 6 done, 0 running, 0 failed")


def test_what_was_completed_before_is_not_reported_again(runner, capsys):
    begin(runner, 0)
    end(runner, 0, "completed", metrics={"val_accuracy": 0.81})
    reporter = ProgressReporter(runner)
    reporter.update()
    assert capsys.readouterr().out == ""
    assert reporter.line() == "1 of 6 done, 0 running, 0 failed; best val_accuracy 0.8100 (#0)"


def test_a_problem_of_the_search_reaches_the_sweep(runner):
    def fails() -> None:
        raise RuntimeError("the database is gone")

    runner.while_running = fails
    reporter = ProgressReporter(runner)
    with pytest.raises(RuntimeError, match="the database is gone"), reporter:
        reporter.thread.join(10)
