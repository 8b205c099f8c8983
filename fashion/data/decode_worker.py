"""A process that decodes images for another: ``python -m fashion.data.decode_worker``.

It receives pickled tasks on standard input and answers on standard output, so it ends with the process that started it,
however that ends. Unlike ``multiprocessing`` it neither forks, which JAX's threads forbid, nor imports the main script.
"""

import os
import pickle
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from fashion.data.decode_images import Decoder
from fashion.files import waiting_lock
from fashion.preprocessing.input_spec import InputSpec


class Setup(NamedTuple):
    """The first message to a worker.

    Attributes:
        root: Folder of the data set.
        spec: The size of the images, and how files become such images.
        pixels: Path of the pixel file.
        lock: Path of a file that every worker holds a shared lock on.
        known: Digests of the contents that the store has.
    """

    root: str
    spec: InputSpec
    pixels: str
    lock: Path
    known: frozenset[bytes]


def main() -> None:
    """Answer each task, a list of files and a list of free rows, until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that reads the answers decides when to stop
    tasks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's output must not mix with the answers
    setup: Setup = pickle.load(tasks)
    with waiting_lock(setup.lock, shared=True):
        decoder = Decoder(setup.root, setup.spec, os.open(setup.pixels, os.O_WRONLY), setup.known)
        while True:
            try:
                files, rows = pickle.load(tasks)
            except EOFError:
                os._exit(0)  # the other process waits for this one, and Python's own way takes 0.05 s
            try:
                answer: object = decoder.decode(files, rows)
            except OSError as error:
                answer = error
            try:
                pickle.dump(answer, answers)
                answers.flush()
            except BrokenPipeError:
                os._exit(0)  # nobody reads; Python would complain that it cannot flush


if __name__ == "__main__":
    main()
