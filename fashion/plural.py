"""Numbers with their nouns."""


def counted(number: int, noun: str) -> str:
    """Return a number and a noun, which is plural unless the number is 1: ``1 file``, ``1,200 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
