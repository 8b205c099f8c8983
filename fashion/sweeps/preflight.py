"""Check the jobs of a sweep before the first one starts: ``python -m fashion.sweeps.preflight``.

In a process of its own, because checking a configuration imports Keras, and the process that leads a sweep must stay
small and on no backend.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from fashion.backend.selection import start_backend
from fashion.cli import WRONG_INPUT, with_exit_status
from fashion.config.nodes import ResolvedConfig
from fashion.errors import InputError
from fashion.training.training_settings import check_groups, check_trainer


def check(configs: Sequence[ResolvedConfig]) -> None:
    """Check each resolved training configuration.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "fashion.sweeps.preflight"],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
    )
    if finished.returncode == 0:
        return
    lines = finished.stderr.strip().splitlines() or [f"the check exited with status {finished.returncode}"]
    if finished.returncode != WRONG_INPUT:
        print(finished.stderr, file=sys.stderr)
    raise InputError(lines[-1].removeprefix("error: "))


def main() -> None:
    """Check the configurations on standard input."""
    configs = json.load(sys.stdin)
    chosen = configs[0].get("trainer") or {}
    start_backend("tensorflow" if chosen.get("backend") == "tensorflow" else "jax", computes=False)
    for config in configs:
        check_trainer(config)
        check_groups(config)


if __name__ == "__main__":
    with_exit_status(main)
