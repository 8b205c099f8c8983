"""The one exception that means "the user can fix this"."""


class FashionError(Exception):
    """Wrong input or configuration, told in one sentence: what, got, expected, what to do.

    Commands print it as a single ``error: ...`` line on standard error and exit with status 2.
    A message never contains a line break.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
