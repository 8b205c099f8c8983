"""Names of classes that a page, a line of output and a database can show."""

import unicodedata

# Unicode's categories of control characters, halves of characters, and separators of lines and paragraphs.
UNUSABLE = {"Cc", "Cs", "Zl", "Zp"}


def is_usable(name: str) -> bool:
    """Return whether a name has visible text and no control characters."""
    return bool(name.strip()) and not any(unicodedata.category(each) in UNUSABLE for each in name)
