"""``format=onnx``: one file of the Open Neural Network Exchange, with float32, float16 or int8 weights."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fashion.arrays import Images
from fashion.backend.quiet import quiet_standard_error
from fashion.export.formats import ExportSource
from fashion.export.whole_model import POSTHOC, WholeModel
from fashion.inference.onnx_engine import INPUT, OnnxEngine

# Read by ONNX Runtime since 1.14, of 2023, and by onnxruntime-web.
OPSET = 18
MULTIPLICATIONS = ("Conv", "MatMul", "Gemm")  # what int8 makes faster
MIN_FLOAT16_VALUES = 64  # smaller arrays are single numbers, and sizes


def write(source: ExportSource, path: Path) -> None:
    """Write a model; see ``fashion.export.formats.FormatModule``."""
    model, quantise = convert(source.model), source.quantise
    _store_in_float16(model, exact=quantise != "float16")
    if quantise == "int8":
        _write_int8(model, path, source.images)
    else:
        importlib.import_module("onnx").save(model, str(path))


def open_engine(path: Path) -> OnnxEngine:
    """Return ONNX Runtime's session of a written file."""
    return OnnxEngine(path, threads=1)


def convert(model: WholeModel) -> Any:
    """Return the ``onnx.ModelProto`` of a model."""
    with quiet_standard_error(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside tf2onnx
        tf2onnx: Any = importlib.import_module("tf2onnx")
        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        compute = model.compute
        converted, _ = tf2onnx.convert.from_function(compute, input_signature=compute.input_signature, opset=OPSET)
    return converted


def _store_in_float16(model: Any, *, exact: bool) -> None:
    """Store constants in half the space; ONNX Runtime converts them to float32 once, when it loads the model.

    The arithmetic stays in float32, since processors have none for float16, and activations keep their digits.

    Args:
        model: The ``onnx.ModelProto``, which is changed.
        exact: Whether only those constants that lose no digit, such as the statistics that the card has in float16.
    """
    onnx: Any = importlib.import_module("onnx")
    casts = []
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < MIN_FLOAT16_VALUES:
            continue
        if exact and not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            continue
        short = f"{weight.name}_float16"
        casts.append(onnx.helper.make_node("Cast", [short], [weight.name], to=onnx.TensorProto.FLOAT))
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), short))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _write_int8(model: Any, path: Path, images: Images) -> None:
    """Quantise weights per channel, and activations to the ranges that they have for some training images."""
    quantization: Any = importlib.import_module("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):
        """Gives one image at a time."""

        def __init__(self) -> None:
            self._images: Iterator[np.ndarray] = iter(images.astype(np.float32) / 255)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._images, None)
            return None if image is None else {INPUT: image[np.newaxis]}

    logging.disable(logging.WARNING)  # it advises what tf2onnx has done already
    try:
        quantization.quantize_static(
            model,
            str(path),
            Reader(),
            op_types_to_quantize=list(MULTIPLICATIONS),
            per_channel=True,
            nodes_to_exclude=[node.name for node in model.graph.node if node.name.startswith(POSTHOC)],
        )
    finally:
        logging.disable(logging.NOTSET)
