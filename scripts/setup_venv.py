"""Make .venv, or leave it alone when it already is what pyproject.toml and constraints.txt ask for.

Runs on a bare Python: standard library only, and a syntax that older Pythons parse, so that they are refused in words.
Debian's python3 has neither pip nor ensurepip; there pip comes from Debian's own package, unpacked without root.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 13)  # the newest that the pinned tensorflow has wheels for
EVERYTHING = ".[dev,benchmark]"
DEFAULT_EXTRAS = ("heif",)  # installed without being asked for, where their packages have wheels

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "fashion-setup.json"  # written last: without it .venv is unfinished and is created again
PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "constraints.txt"
# Not sys.executable: that may be .venv's own link, which cannot create .venv again.
BASE_PYTHON = os.path.realpath(sys.executable)


class SetupError(Exception):
    """Something the user can act on, in one sentence."""


def check_machine() -> None:
    """Refuse a Python or a machine that the pinned packages have no wheels for."""
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        raise SetupError(
            f"{sys.executable} is Python {platform.python_version()}, expected "
            f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} to {NEWEST_PYTHON[0]}.{NEWEST_PYTHON[1]}; "
            f"install one and name it, as in: PYTHON=python3.12 make train"
        )
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        raise SetupError(
            "this Python is built for Intel Macs, for which JAX and TensorFlow no longer publish packages; "
            "expected Linux, or a Mac with Apple silicon and a Python built for it"
        )


def run(*command: str | Path, **environment: str) -> None:
    """Run a command from the project's folder, showing what it prints; SetupError if it fails."""
    finished = subprocess.run([str(part) for part in command], cwd=str(ROOT), env={**os.environ, **environment})
    if finished.returncode:
        line = " ".join(map(str, command))
        raise SetupError(f"`{line}` ended with exit status {finished.returncode}; see its output above")


def wanted_stamp(extras: list[str]) -> dict[str, Any]:
    """Describe the .venv that is asked for: the inputs of its set-up, its location, and its Python."""
    inputs = hashlib.sha256()
    for path in (PYPROJECT, CONSTRAINTS):
        inputs.update(path.read_bytes())
    return {"folder": str(ROOT), "python": BASE_PYTHON, "inputs": inputs.hexdigest(), "extras": extras}


def read_stamp() -> dict[str, Any]:
    """Return what the last finished set-up wrote, or an empty dictionary."""
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Make a second `make` in this folder wait for the first; the system drops the lock of a killed one."""
    with PYPROJECT.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch_debian_pip(folder: Path) -> dict[str, str]:
    """Download the wheel of pip that Debian's ensurepip would use; needs no root.

    Returns:
        The environment variables under which .venv's Python runs that pip.
    """
    if not shutil.which("apt-get"):
        raise SetupError(f"{BASE_PYTHON} has no ensurepip module, which installs pip; install a Python that has it")
    # Package lists of our own: the system's may be missing (fresh containers) or old, and only root may renew them.
    apt = ["apt-get", "--quiet", "-o", "APT::Sandbox::User=root"]
    for option, name in (("Dir::State::lists", "lists"), ("Dir::Cache", "cache"), ("Dir::Cache::archives", "archives")):
        (folder / name / "partial").mkdir(parents=True)
        apt += ["-o", f"{option}={folder / name}"]
    said = ""
    for command in (
        [*apt, "update"],  # succeeds without a network too: what it said then explains the download's failure
        [*apt, "download", "python3-pip-whl"],
        ["sh", "-c", "dpkg-deb --extract python3-pip-whl_*.deb ."],
    ):
        finished = subprocess.run(command, cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said += finished.stdout
        if finished.returncode:
            sys.stderr.write(said)
            raise SetupError(
                f"{BASE_PYTHON} has no ensurepip, and its pip could not be downloaded from Debian either (see above); "
                "as root: apt-get update && apt-get install python3-venv"
            )
    wheel = next(folder.glob("usr/share/python-wheels/pip-*.whl"))
    environment = {"PYTHONPATH": str(wheel)}
    # Debian's pip trusts the system's certificates alone, and a bare Debian has none: then use those in the wheel.
    if not os.path.exists("/etc/ssl/certs/ca-certificates.crt") and "PIP_CERT" not in os.environ:
        with zipfile.ZipFile(wheel) as archive:
            environment["PIP_CERT"] = archive.extract("pip/_vendor/certifi/cacert.pem", folder)
    return environment


def make_venv() -> None:
    """Create .venv again, with nothing but the tested pip and setuptools.

    Raises:
        SetupError: When .venv is a link: recreating it would delete the environment of another folder.
    """
    if VENV.is_symlink():
        raise SetupError(
            f"{VENV} is a link to {os.path.realpath(str(VENV))}, which was set up for another folder; "
            "remove the link to get an environment of this folder's own"
        )
    size = "downloads about 500 MB, takes 2.3 GB of disk"
    print(f"Setting up .venv with Python {platform.python_version()} (once; {size})", flush=True)
    tools = ("-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, "pip", "setuptools")
    if importlib.util.find_spec("ensurepip"):
        run(BASE_PYTHON, "-m", "venv", "--clear", VENV)
        run(VENV_PYTHON, *tools)
        return
    run(BASE_PYTHON, "-m", "venv", "--clear", "--without-pip", VENV)
    with tempfile.TemporaryDirectory() as folder:
        run(VENV_PYTHON, *tools, **fetch_debian_pip(Path(folder)))


def project_with(extras: list[str]) -> str:
    """Return the project as pip wants it: with its extras in brackets, but never with empty ones."""
    return f".[{','.join(extras)}]" if extras else "."


def set_up(extras: list[str]) -> None:
    """Bring .venv to what pyproject.toml and constraints.txt ask for; do nothing if it is there already.

    Args:
        extras: Optional dependencies of pyproject.toml to have besides those that are there.
    """
    found = read_stamp()
    wanted = wanted_stamp(sorted({*DEFAULT_EXTRAS, *extras, *found.get("extras", [])}))
    if found == wanted:
        return
    STAMP.unlink(missing_ok=True)
    if any(found.get(key) != wanted[key] for key in ("folder", "python")):
        make_venv()
    command: list[str | Path] = [VENV_PYTHON, "-m", "pip", "install", "--constraint", CONSTRAINTS]
    if found:
        command.append("--quiet")  # the first time takes a minute or two, and pip shows how far it is
    # Builds use the pinned setuptools of .venv; isolated ones would download whatever is newest.
    run(*command, "--no-build-isolation", "--editable", project_with(wanted["extras"]))
    STAMP.write_text(json.dumps(wanted))


def complete_constraints() -> None:
    """Rewrite constraints.txt: the pins in it, and the newest fitting releases of what has none."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        run(
            *(VENV_PYTHON, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", report),
            *(
                "--no-build-isolation",
                "--constraint",
                CONSTRAINTS,
                "--editable",
                EVERYTHING,
                "pip",
                "setuptools",
            ),
        )
        installed = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    pins = {re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in installed}
    # The same release under two names, one for Linux x86 and one for all else (see pyproject.toml).
    tensorflow = pins.get("tensorflow-cpu") or pins["tensorflow"]
    pins.update({"tensorflow": tensorflow, "tensorflow-cpu": tensorflow})
    del pins["fashion"]
    head = [line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("#")]
    CONSTRAINTS.write_text("\n".join(head + [f"{name}=={pins[name]}" for name in sorted(pins)]) + "\n")


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description="Create .venv, unless it is up to date.")
    parser.add_argument(
        "--extra", action="append", default=[], help="with these optional dependencies of pyproject.toml"
    )
    parser.add_argument("--complete-constraints", action="store_true", help="then pin what constraints.txt lacks")
    arguments = parser.parse_args()
    try:
        check_machine()
        with one_at_a_time():
            set_up(arguments.extra)
            if arguments.complete_constraints:
                complete_constraints()
    except SetupError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
