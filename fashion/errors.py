"""The errors that this project raises on purpose.

::

    FashionError                    one sentence: what, got, expected, what to do
    ├── InputError                  wrong configuration, argument, file or data: exit status 2, or a 4xx response
    │   ├── UnsupportedImageError   a file of a kind that is not read: 415
    │   └── InvalidImageError       an image that is damaged, animated or too large: 422
    ├── FolderBusyError             another process is training in the folder
    ├── WriteError                  a file cannot be written
    │   └── DiskFullError           ... because the disk or the quota is full
    ├── DivergenceError             the loss is no longer a finite number
    ├── IncompleteSweepError        a sweep has ended, and some of its jobs did not complete
    └── StorageUnavailableError     the server's database or Redis cannot be used: 503

A command prints any of them as one ``error: ...`` line and exits with status 2 (see ``fashion.cli``). Any other
exception is a bug, and is shown with its traceback.
"""

from typing import Literal


class FashionError(Exception):
    """Something that the user or the operator can fix, in one sentence without a line break."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class InputError(FashionError):
    """What was given is wrong: a configuration, an argument, a file, or data."""


class UnsupportedImageError(InputError):
    """A file that is none of the accepted kinds of image."""


class InvalidImageError(InputError):
    """An image of an accepted kind that is damaged, animated, or too large."""


class FolderBusyError(FashionError):
    """Another process is training in the folder."""


class WriteError(FashionError):
    """A file cannot be written; what was there before is intact."""


class DiskFullError(WriteError):
    """The disk or the quota is full."""


class DivergenceError(FashionError):
    """The loss is no longer a finite number."""


class IncompleteSweepError(FashionError):
    """A sweep has ended, and some of its jobs did not complete."""


class StorageUnavailableError(FashionError):
    """The server's database or Redis cannot be used now.

    Attributes:
        service: Which of the two.
    """

    def __init__(self, message: str, service: Literal["database", "redis"] = "database") -> None:
        super().__init__(message)
        self.service = service
