"""Decode many image files at once, in this process and one worker for each further core."""

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence

from fashion.data.decode_images import Decoded, Decoder
from fashion.data.decode_worker import Setup
from fashion.errors import InputError
from fashion.paths import PROJECT

CHUNK = 16  # files a task
BYTES_PER_WORKER = 8_000_000  # of files: about what a core decodes in the 0.2 s that a worker takes to start

Task = tuple[list[tuple[int, str]], list[int]]  # files by number and path, and as many free rows
Answer = tuple[Task, object]  # a task, and a list of Decoded, or what ended the worker


class _Tasks:
    """Hands out files in chunks, each with rows of the store to write to; any thread may ask."""

    def __init__(self, files: Sequence[tuple[int, str]], first_row: int) -> None:
        self._files, self._next_file, self._next_row = files, 0, first_row
        self._returned: list[int] = []
        self._lock = threading.Lock()

    def take(self) -> Task | None:
        """Return the next chunk; None when there is no more."""
        with self._lock:
            files = list(self._files[self._next_file : self._next_file + CHUNK])
            if not files:
                return None
            self._next_file += len(files)
            while len(self._returned) < len(files):
                self._returned.append(self._next_row)
                self._next_row += 1
            rows = sorted(self._returned)
            self._returned = rows[len(files) :]
            return files, rows[: len(files)]

    def give_back(self, rows: Sequence[int]) -> None:
        """Offer rows again that nothing was written to."""
        with self._lock:
            self._returned.extend(rows)


def decode_files(
    setup: Setup, files: Sequence[tuple[int, str]], first_row: int, workers: int
) -> Generator[list[Decoded]]:
    """Decode files into a store, in chunks, which are yielded in the order in which they are completed.

    Args:
        setup: What the workers need.
        files: Number and path of each file.
        first_row: From here on all rows of the store are free.
        workers: How many other processes decode, beside this one.

    Raises:
        InputError: When a worker ends unexpectedly, as a decoder that crashes makes it.
        OSError: When the pixels cannot be written.
    """
    tasks, answers = _Tasks(files, first_row), queue.SimpleQueue[Answer]()
    started = [_start(setup) for _ in range(workers)]
    threads = [threading.Thread(target=_serve, args=(worker, setup, tasks, answers)) for worker in started]
    descriptor = os.open(setup.pixels, os.O_WRONLY)
    try:
        for thread in threads:
            thread.start()
        decoder = Decoder(setup.root, setup.spec, descriptor, setup.known)
        while task := tasks.take():
            yield _completed(task, decoder.decode(*task), tasks)
            yield from _waiting(answers, tasks)
        for thread in threads:
            while thread.is_alive():
                thread.join(timeout=0.02)
                yield from _waiting(answers, tasks)
        yield from _waiting(answers, tasks)
    finally:
        for worker in started:
            worker.kill()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        os.close(descriptor)


def _start(setup: Setup) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", f"{Setup.__module__}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        process_group=0,  # Ctrl-C is for this process, which then ends the workers
    )


def _serve(worker: subprocess.Popen[bytes], setup: Setup, tasks: _Tasks, answers: "queue.SimpleQueue[Answer]") -> None:
    """Give a worker one task after the other. Its end is an answer too."""
    task: Task = ([], [])
    with contextlib.suppress(BrokenPipeError), worker:  # what a worker that has ended was not sent
        stdin, stdout = worker.stdin, worker.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker was started without pipes")
        try:
            pickle.dump(setup, stdin)
            stdin.flush()
            while next_task := tasks.take():
                task = next_task
                pickle.dump(task, stdin)
                stdin.flush()
                answers.put((task, pickle.load(stdout)))
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            answers.put((task, error))


def _waiting(answers: "queue.SimpleQueue[Answer]", tasks: _Tasks) -> Iterator[list[Decoded]]:
    """Yield the answers of workers that have arrived."""
    while not answers.empty():
        task, answer = answers.get()
        yield _completed(task, answer, tasks)


def _completed(task: Task, answer: object, tasks: _Tasks) -> list[Decoded]:
    files, rows = task
    if isinstance(answer, OSError) and not isinstance(answer, BrokenPipeError):
        raise answer
    if not isinstance(answer, list):
        between = f"decoding one of {files[0][1]} to {files[-1][1]}" if files else "starting"
        raise InputError(
            f"a process that decodes images ended unexpectedly while {between}; "
            "run the command again, and move those files away if it happens again"
        )
    used = {decoded.content.row for decoded in answer if decoded.content}
    tasks.give_back([row for row in rows if row not in used])
    return answer
