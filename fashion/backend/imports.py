"""How Keras and TensorFlow are imported: with which settings, and without which of the installed packages.

Keras imports what it finds, to compare types while it saves and loads and to offer plots and wrappers: seconds and
hundreds of MB that most processes do not need.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType

from fashion.backend.quiet import quiet_standard_error
from fashion.paths import cache_folder

EPSILON = 1e-7  # Keras's own default


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
_KERAS_EXTRAS = ExcludedPackages(
    {"matplotlib": "matplotlib", "sklearn": "scikit-learn", "pandas": "pandas"}, "the import of Keras"
)


def import_keras() -> ModuleType:
    """Import Keras with the settings that this project's numbers depend on.

    Skips Keras's optional imports for plots, scikit-learn wrappers and data frames, which take 1.3 s.
    """
    sys.meta_path.insert(0, _KERAS_EXTRAS)
    try:
        with own_keras_home():
            keras = importlib.import_module("keras")
    finally:
        sys.meta_path.remove(_KERAS_EXTRAS)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(EPSILON)
    return keras


@contextlib.contextmanager
def own_keras_home() -> Iterator[None]:
    """Keep Keras, which is imported in the block, from reading ``keras.json`` in the user's ``~/.keras``.

    That file may hold what another project needs, or values with which Keras cannot be imported. TensorFlow imports
    parts of Keras, which read it, so its import belongs in the block too.
    """
    users = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = str(cache_folder() / "keras")
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if users is not None:
            os.environ["KERAS_HOME"] = users


def import_tensorflow() -> ModuleType:
    """Import TensorFlow and initialise its devices, without its messages about missing drivers."""
    with own_keras_home(), quiet_standard_error():
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
