"""What a benchmark says while it runs: standard output is for its result alone."""

import sys


def say(line: str) -> None:
    """Write a line to standard error at once."""
    print(line, file=sys.stderr, flush=True)
