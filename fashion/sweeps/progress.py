"""The live line of a sweep: done, running, failed, the best so far, and the time that is left."""

import sys
import threading
import time
from typing import Any

from fashion.sweeps import manifest
from fashion.sweeps.manifest import Job
from fashion.sweeps.runner import Runner

LOOK_EVERY_SECONDS = 0.5


class Board:
    """Tell of each job that ends, and on a terminal keep a line below of how the sweep is doing.

    It reads the jobs' folders, so it shows the same whichever launcher runs them, wherever.

    Args:
        runner: Whose jobs.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.ended: dict[int, str] = {}
        self.before = {job.number for job in runner.jobs if runner.status(job) == "completed"}
        self.on_terminal = sys.stdout.isatty()
        self.stopping = threading.Event()
        self.problem: Exception | None = None
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Board":
        """Begin to look."""
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Look a last time, and stop.

        Raises:
            Exception: What went wrong while it looked, such as a database of the search that is gone.
        """
        self.stopping.set()
        self.thread.join()
        self._show("")
        if self.problem is None:
            self.look()
        elif exception[0] is None:
            raise self.problem

    def look(self) -> None:
        """Tell of the jobs that have ended since the last look, and let the search judge those that run."""
        for job in self.runner.jobs:
            if job.number not in self.ended and self._is_fresh(job):
                status = self.runner.status(job)
                if status in manifest.ENDED:
                    self.ended[job.number] = status
                    if job.number not in self.before:
                        self._show("")
                        print(self._ending(job, status), flush=True)
        self.runner.while_running()

    def line(self) -> str:
        """Return the live line."""
        running = sum(
            job.number not in self.ended and self._is_fresh(job) and self.runner.status(job) == "running"
            for job in self.runner.jobs
        )
        ended = list(self.ended.values())
        bad = sum(status in {"failed", "interrupted"} for status in ended)
        parts = [f"{len(ended) - bad} of {self.runner.expected} done, {running} running, {bad} failed"]
        best = self._best()
        if best:
            objective = self.runner.plan.objective
            parts.append(f"best {objective} {best[0]:.4f} (#{best[1]})")
        left = self._seconds_left(running)
        if left is not None:
            parts.append(f"about {_duration(left)} left")
        return "; ".join(parts)

    def _follow(self) -> None:
        while self.problem is None and not self.stopping.wait(LOOK_EVERY_SECONDS):
            try:
                self.look()
                if self.on_terminal:
                    self._show(self.line())
            except Exception as error:  # noqa: BLE001  # raised again in the thread that leads
                self.problem = error

    def _show(self, line: str) -> None:
        if self.on_terminal:
            sys.stdout.write(f"\r\x1b[K{line}")
            sys.stdout.flush()

    def _is_fresh(self, job: Job) -> bool:
        """Return whether a job's folder is of this sitting: it may hold the bad end of an earlier one."""
        if job.number in self.before:
            return True
        try:
            started = (job.folder(self.runner.folder) / ".hydra" / "overrides.yaml").stat().st_mtime
        except OSError:
            return False
        return started >= self.runner.started - 1  # file systems round

    def _ending(self, job: Job, status: str) -> str:
        found: dict[str, Any] = self.runner.result(job)
        metrics = found.get("metrics") or {}
        objective = self.runner.plan.objective
        what = f"{objective} {metrics[objective]:.4f}" if objective in metrics else manifest.reason(found) or ""
        if status == "pruned":
            what = "worse than others at this epoch"
        return f"#{job.number} {status:<11} {what}  {' '.join(job.overrides)}"

    def _best(self) -> tuple[float, int] | None:
        objective = self.runner.plan.objective
        completed = [job for job in self.runner.jobs if self.ended.get(job.number) == "completed"]
        found = [(self.runner.result(job)["metrics"].get(objective), job.number) for job in completed]
        values = [pair for pair in found if pair[0] is not None]
        if not values:
            return None
        return max(values) if objective == "val_accuracy" else min(values)

    def _seconds_left(self, running: int) -> float | None:
        here = len(self.ended) - len(self.before)
        if not here:
            return None
        # What has ended so far took this long; those that run are taken to be half done.
        pace = (time.time() - self.runner.started) / (here + running / 2)
        return pace * (self.runner.expected - len(self.ended) - running / 2)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
