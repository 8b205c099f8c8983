"""Packages of npm that a web page carries: of one version, verified, and kept in the user's cache."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from fashion.errors import InputError
from fashion.files import replacing
from fashion.paths import cache_folder

NPM_SECONDS = 300


class NpmPackage(NamedTuple):
    """A package of npm.

    Attributes:
        name: With its scope.
        version: The only one that is used.
        sha512: Digest of its archive in base64, as npm states it.
    """

    name: str
    version: str
    sha512: str

    @property
    def archive(self) -> Path:
        """Where its archive is kept."""
        return cache_folder() / "npm" / f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


ONNX_RUNTIME_WEB = NpmPackage(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)
OPENCV = NpmPackage(
    "@techstark/opencv-js",
    "4.12.0-release.1",
    "LtTaph9v/HqLPXEg3m1xs2h7QJh10pUpuDT0nj8g77lelWnTwwQrehtd+fXElLOdrkqc4Fea6Z/sJBvEJLYPfw==",
)


def fetch(package: NpmPackage) -> None:
    """Make sure that a package is in the cache, if necessary from the registry that npm is configured for.

    Raises:
        InputError: When it is not, and npm cannot get it.
    """
    if package.archive.is_file() and _sha512(package.archive) == package.sha512:
        return
    specification = f"{package.name}@{package.version}"
    advice = f"put the archive of {specification} at {package.archive}"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"format=web: needs {specification}, and npm to get it; install npm, or {advice}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", specification, "--silent", "--ignore-scripts", "--pack-destination", folder]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=NPM_SECONDS, cwd=folder)
            (downloaded,) = Path(folder).glob("*.tgz")
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            raise InputError(f"format=web: npm cannot get {specification} ({reason[-1]}); {advice}") from None
        if _sha512(downloaded) != package.sha512:
            raise InputError(f"format=web: npm's {specification} is another file than the tested one; {advice}")
        with replacing(package.archive) as partial:
            shutil.copyfile(downloaded, partial)


def read_member(package: NpmPackage, name: str) -> bytes:
    """Return a file of a package in the cache."""
    with tarfile.open(package.archive) as archive:
        stream = archive.extractfile(f"package/{name}")
        if stream is None:
            raise InputError(f"{package.archive}: has no file {name}")
        return stream.read()


def _sha512(file: Path) -> str:
    with file.open("rb") as stream:
        return base64.b64encode(hashlib.file_digest(stream, "sha512").digest()).decode()
