"""Silence for libraries that write to standard error before their log level takes effect."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_standard_error() -> Iterator[None]:
    """Buffer what C++ code writes to standard error, and show it only when the block fails.

    While TensorFlow 2.21 is imported its log level is not yet in force, and it reports missing GPUs to every user.
    """
    with tempfile.TemporaryFile() as buffer:
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            buffer.seek(0)
            os.write(original, buffer.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
