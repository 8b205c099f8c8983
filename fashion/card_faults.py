"""Invalid entries of a card: unusable class names, and examples that are not images."""

import base64
from collections.abc import Sequence

from fashion.class_names import is_usable
from fashion.errors import InputError
from fashion.preprocessing.decode import load, open_checked
from fashion.preprocessing.formats import identify

SHOWN_FORMATS = {"PNG", "JPEG"}  # by every browser


def fault_of_classes(classes: Sequence[str]) -> str | None:
    """Return what is wrong with the names of classes, None if nothing is."""
    if len(set(classes)) < len(classes) or not classes:
        return f"classes: got {len(set(classes))} different names for {len(classes)} classes"
    unusable = [name for name in classes if not is_usable(name)]
    return f"classes: got {unusable[0]!a}, expected text without control characters" if unusable else None


def fault_of_example(label: str, file: str, classes: Sequence[str]) -> str | None:
    """Return what is wrong with an example image, None if it is one of a class, in a format that browsers show.

    Args:
        label: The class that it is said to be of.
        file: The image file in base64.
        classes: The names of the model's classes.
    """
    if label not in classes:
        return f"examples: got the class {label!a}, expected one of the model's"
    try:
        content = base64.b64decode(file, validate=True)
        if identify(content) not in SHOWN_FORMATS:
            return f"examples: the file of {label!a} is neither a PNG nor a JPEG image"
        load(open_checked(content))
    except InputError as error:
        return f"examples: the file of {label!a} {error}"
    except ValueError:
        return f"examples: the file of {label!a} is not base64"
    return None
