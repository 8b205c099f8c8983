"""Decode one image file into a row of a store."""

import hashlib
import os
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from fashion.arrays import Image
from fashion.errors import InputError
from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.prepare import read_bytes


class Content(NamedTuple):
    """What the content of a file decodes to.

    Attributes:
        row: Of the store; None where the content is not an image that can be read.
        pixels: The digest of its pixels; empty without a row.
        sums: The sum of each channel's values, 0-255, then the sum of each channel's squared values; empty without one.
        flaw: Why it cannot be read; empty with a row.
    """

    row: int | None
    pixels: bytes = b""
    sums: tuple[int, ...] = ()
    flaw: str = ""


class Decoded(NamedTuple):
    """The outcome for one file.

    Attributes:
        number: Of the file in the list.
        digest: SHA-256 of its content; empty where it could not be read from the disk.
        content: What it decodes to; None where the store has it already.
    """

    number: int
    digest: bytes
    content: Content | None


class Decoder:
    """Decodes files into the rows of a store's pixel file.

    Args:
        root: Folder of the data set.
        spec: The size of the images, and how files become such images.
        descriptor: Of the pixel file, open for writing.
        known: Digests of the contents that the store has.
    """

    def __init__(self, root: str, spec: InputSpec, descriptor: int, known: Container[bytes]) -> None:
        self.root, self.spec, self.descriptor, self.known = root, spec, descriptor, known
        self.row_bytes = spec.height * spec.width * spec.channels

    def decode(self, files: Sequence[tuple[int, str]], rows: Sequence[int]) -> list[Decoded]:
        """Decode some files, given by number and path, into the first of some free rows.

        Raises:
            OSError: When the pixels cannot be written.
        """
        free = iter(rows)
        return [self._decode_one(number, source, free) for number, source in files]

    def _decode_one(self, number: int, source: str, free: Iterator[int]) -> Decoded:
        try:
            with open(f"{self.root}/{source}", "rb", buffering=0) as stream:
                content = stream.read()
        except OSError as error:
            return Decoded(number, b"", Content(None, flaw=f"cannot be read ({error.strerror})"))
        digest = hashlib.sha256(content).digest()
        if digest in self.known:
            return Decoded(number, digest, None)
        try:
            image = read_bytes(content, self.spec).pixels
        except InputError as error:
            return Decoded(number, digest, Content(None, flaw=str(error)))
        pixels, row = np.ascontiguousarray(image), next(free)
        _write(self.descriptor, pixels.data.cast("B"), row * self.row_bytes)
        return Decoded(number, digest, Content(row, hashlib.sha256(pixels.data).digest(), channel_sums(pixels)))


def channel_sums(pixels: Image) -> tuple[int, ...]:
    """Return the sum of each channel's values, then the sum of each channel's squared values: exact, in any order."""
    count = pixels.shape[0] * pixels.shape[1]
    means, deviations = (channel.ravel().tolist() for channel in cv2.meanStdDev(pixels))
    # Rounding makes them exact: the sums are below 2**34, and OpenCV computes in float64.
    squares = [round((mean**2 + deviation**2) * count) for mean, deviation in zip(means, deviations, strict=True)]
    return (*(round(mean * count) for mean in means), *squares)


def _write(descriptor: int, content: memoryview, position: int) -> None:
    while content:  # a disk that is nearly full takes a part; the rest then raises
        written = os.pwrite(descriptor, content, position)
        content, position = content[written:], position + written
