"""The live line of a sweep: jobs done, running and failed, the best so far, and the time left."""

import sys
import threading
import time

from fashion.runs.folder import RunStatus
from fashion.sweeps.manifest import ENDED, SweepJob
from fashion.sweeps.runner import JobRunner

POLL_SECONDS = 0.5


class ProgressReporter:
    """Print a line for each job that ends and, on a terminal, keep a line below that sums up the sweep.

    It reads the jobs' folders, so it works with any launcher, on any machines.

    Args:
        runner: The runner of the jobs.
    """

    def __init__(self, runner: JobRunner) -> None:
        self.runner = runner
        self.ended: dict[int, RunStatus] = {}
        self.completed_before = {job.number for job in runner.jobs if runner.status(job) == "completed"}
        self.on_terminal = sys.stdout.isatty()
        self.stopping = threading.Event()
        self.problem: Exception | None = None
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "ProgressReporter":
        """Start to report."""
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Report a last time, and stop.

        Raises:
            Exception: What went wrong in the meantime, such as a lost connection to the search's database.
        """
        self.stopping.set()
        self.thread.join()
        self._show("")
        if self.problem is None:
            self.update()
        elif exception[0] is None:
            raise self.problem

    def update(self) -> None:
        """Print the jobs that have ended since the last update, and let the search prune those that run."""
        for job in self.runner.jobs:
            if job.number not in self.ended and self._is_current(job):
                status = self.runner.status(job)
                if status in ENDED:
                    self.ended[job.number] = status
                    if job.number not in self.completed_before:
                        self._show("")
                        print(self._ending(job, status), flush=True)
        self.runner.while_running()

    def line(self) -> str:
        """Return the live line."""
        running = sum(
            job.number not in self.ended and self._is_current(job) and self.runner.status(job) == "running"
            for job in self.runner.jobs
        )
        ended = list(self.ended.values())
        failed = sum(status in {"failed", "interrupted"} for status in ended)
        parts = [f"{len(ended) - failed} of {self.runner.expected} done, {running} running, {failed} failed"]
        best = self._best()
        if best:
            objective = self.runner.manifest.objective
            parts.append(f"best {objective} {best[0]:.4f} (#{best[1]})")
        left = self._seconds_left(running)
        if left is not None:
            parts.append(f"about {_duration(left)} left")
        return "; ".join(parts)

    def _follow(self) -> None:
        while self.problem is None and not self.stopping.wait(POLL_SECONDS):
            try:
                self.update()
                if self.on_terminal:
                    self._show(self.line())
            except Exception as error:  # noqa: BLE001  # raised again in the main thread
                self.problem = error

    def _show(self, line: str) -> None:
        if self.on_terminal:
            sys.stdout.write(f"\r\x1b[K{line}")
            sys.stdout.flush()

    def _is_current(self, job: SweepJob) -> bool:
        """Return whether this command started a job: its folder may hold the failure of an earlier one."""
        if job.number in self.completed_before:
            return True
        if job.same_as is not None:
            return job.same_as in self.ended
        started = job.folder(self.runner.folder).started_at
        return started is not None and started >= self.runner.started - 1  # file systems round

    def _ending(self, job: SweepJob, status: RunStatus) -> str:
        result = self.runner.result(job)
        objective = self.runner.manifest.objective
        if status == "pruned":
            what = "worse than other trials at this epoch"
        elif result and objective in result.metrics:
            what = f"{objective} {result.metrics[objective]:.4f}"
        else:
            what = (result and result.error) or ""
        if job.same_as is not None:
            what += f"  = #{job.same_as}"
        return f"#{job.number} {status:<11} {what}  {' '.join(job.overrides)}"

    def _best(self) -> tuple[float, int] | None:
        objective = self.runner.manifest.objective
        values = []
        for job in self.runner.jobs:
            is_own = job.same_as is None and self.ended.get(job.number) == "completed"
            result = self.runner.result(job) if is_own else None
            if result and objective in result.metrics:
                values.append((result.metrics[objective], job.number))
        if not values:
            return None
        return max(values) if objective == "val_accuracy" else min(values)

    def _seconds_left(self, running: int) -> float | None:
        ended_here = len(self.ended) - len(self.completed_before)
        if not ended_here:
            return None
        # The jobs that have ended took this long; those that run are assumed to be half done.
        pace = (time.time() - self.runner.started) / (ended_here + running / 2)
        return pace * (self.runner.expected - len(self.ended) - running / 2)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
