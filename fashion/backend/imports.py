"""How Keras and TensorFlow are imported, and which packages a process does without though they are installed.

Keras imports what it finds, to compare types while it saves and loads and to offer plots and wrappers: seconds and
hundreds of MB that most processes do not need.
"""

import importlib
import sys
from types import ModuleType

from fashion.backend.quiet import quiet_standard_error


class ExcludedPackages:
    """An import finder that refuses some packages as if they were not installed.

    Args:
        names: Import name of each top-level package, to the name in the error message.
        excluded_by: What excluded them, and how to have them; ends the error message.
    """

    def __init__(self, names: dict[str, str], excluded_by: str) -> None:
        self.names = names
        self.excluded_by = excluded_by

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse an excluded package; any other module is left to the next finder.

        Raises:
            ModuleNotFoundError: Naming what excluded the package.
        """
        if name in self.names:
            raise ModuleNotFoundError(
                f"{self.names[name]} is excluded from this process by {self.excluded_by}", name=name
            )


_TENSORFLOW = ExcludedPackages(
    {"tensorflow": "TensorFlow"},
    "start_backend('jax'), because importing it takes seconds; start_backend('jax', tensorflow_beside_jax=True) "
    "or the TensorFlow backend allows it",
)
_KERAS_EXTRAS = ExcludedPackages({"matplotlib": "matplotlib", "sklearn": "scikit-learn"}, "the import of Keras")


def import_keras() -> ModuleType:
    """Import Keras without what it imports for its own plots and scikit-learn wrappers, which takes 1 s."""
    sys.meta_path.insert(0, _KERAS_EXTRAS)
    try:
        return importlib.import_module("keras")
    finally:
        sys.meta_path.remove(_KERAS_EXTRAS)


def import_tensorflow() -> ModuleType:
    """Import TensorFlow and initialise its devices, without its messages about missing drivers."""
    with quiet_standard_error():
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.config.list_physical_devices()  # loads the device drivers, and reports those that are missing
    return tensorflow


def exclude_tensorflow() -> None:
    """Make ``import tensorflow`` fail from now on, unless TensorFlow is imported already."""
    if "tensorflow" not in sys.modules and _TENSORFLOW not in sys.meta_path:
        sys.meta_path.insert(0, _TENSORFLOW)


def allow_tensorflow() -> None:
    """Undo ``exclude_tensorflow``."""
    if _TENSORFLOW in sys.meta_path:
        sys.meta_path.remove(_TENSORFLOW)
