"""The hardware and software that measurements depend on, and the memory this process used."""

import contextlib
import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict, cast

# Processor, cores, memory and system.
Hardware = dict[str, str | int | float | None]


class MachineDescription(TypedDict):
    """What is recorded with a measurement: the hardware, versions of packages, and the date as ``measured``."""

    processor: str
    cores: int | None
    memory_gb: float
    system: str
    versions: dict[str, str]
    measured: str


def hardware() -> Hardware:
    """Return processor, cores, memory and system."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def describe_machine(packages: Iterable[str]) -> MachineDescription:
    """Return the description of this machine, with the versions of those packages that are installed."""
    description = {**hardware(), "versions": versions(packages), "measured": time.strftime("%Y-%m-%d")}
    return cast(MachineDescription, description)


def summarise_machine(hardware: Mapping[str, object], versions: Mapping[str, str]) -> str:
    """Return processor, cores and versions as one line."""
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{hardware['processor']}, {hardware['cores']} cores; {packages}"


def available_cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB, on macOS bytes
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def processor_name() -> str:
    """Return the name of the CPU."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
