"""The hardware and software that numbers depend on, and the memory that this process took."""

import contextlib
import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Hardware = dict[str, str | int | float | None]


def hardware() -> Hardware:
    """Return processor, cores, memory and system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def described(packages: Iterable[str]) -> dict[str, Any]:
    """Return what is written beside a measurement: ``hardware``, ``versions``, and the day, ``measured``."""
    return {**hardware(), "versions": versions(packages), "measured": time.strftime("%Y-%m-%d")}


def in_one_line(about: dict[str, Any]) -> str:
    """Return what ``described`` told, as the line above a table."""
    packages = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{about['processor']}, {about['cores']} cores; {packages}"


def peak_memory_mb() -> float:
    """Return the most resident memory this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB, on macOS bytes
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
