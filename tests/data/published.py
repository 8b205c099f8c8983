"""Small files in the formats of MNIST, Kuzushiji-MNIST and CIFAR-10, written independently of the code under test."""

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace

import numpy as np

from fashion.data.published_files import PublishedFile

PER_CLASS, TEST_PER_CLASS = 12, 4


def images_and_labels(per_class: int, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(10, dtype=np.uint8), per_class))
    return random.integers(0, 256, (len(labels), *shape), np.uint8), labels


def npz_bytes(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def idx_gz_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def python2_pickle(planes: np.ndarray, labels: np.ndarray) -> bytes:
    """Pickle a batch as Python 2 and the numpy of 2009 did: protocol 2, byte strings, numpy's former modules."""

    def text(content: bytes) -> bytes:
        return b"U" + bytes([len(content)]) + content

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    shape = b"".join(map(number, planes.shape)) + b"\x86"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    array += b"(" + number(1) + shape + dtype + b"\x89T" + struct.pack("<i", planes.size) + planes.tobytes() + b"tb"
    listed = b"](" + b"".join(map(number, labels.tolist())) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + listed + b"u."


def tar_gz_bytes(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def known(file: PublishedFile, content: bytes, **changed: object) -> PublishedFile:
    """Return a file's description with the digest and the size of other content."""
    digest = hashlib.new(file.algorithm, content).hexdigest()
    return replace(file, digest=digest, size=len(content), **changed)
