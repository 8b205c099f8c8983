"""The arrays in a file of PyTorch weights, read without PyTorch and without running anything that the file names.

``torch.save`` up to PyTorch 1.5, and later with ``_use_new_zipfile_serialization=False``, writes five pickles (a magic
number, the version, the machine, a dictionary of tensors, the keys of their storages) and then each storage: the number
of its elements as int64, and the elements. A tensor is a view of a storage: an offset, a shape and strides.

A pickle is a program. Before one is run here, all its instructions are checked against the few that such a file needs,
their number and the size of the tuples that they build are limited, and every name that it looks up is answered from
``_Unpickler.find_class``, which imports nothing.
"""

import io
import math
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fashion.errors import InputError

MAGIC_NUMBER, VERSION = 0x1950A86A20F9469CFC6C, 1001
ZIP_SIGNATURE = b"PK\x03\x04"
MAX_BYTES = 2**30  # of a file: it is read into memory whole
MAX_INSTRUCTIONS = 500_000  # of a pickle; a tensor takes about 40
MAX_TUPLE = 1_000  # objects in a tuple, with those of the tuples in it
MAX_AXES = 32  # of an array, to numpy
MAX_SHOWN = 80  # letters of a name, in a message
ELEMENTS: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

INSTRUCTIONS = {
    *("PROTO", "GLOBAL", "REDUCE", "BUILD", "STOP", "MARK", "BINPERSID"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
}
# What a damaged pickle raises, besides the errors of this module.
_MALFORMED = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError),
    *(OverflowError, RecursionError, MemoryError),
)


class _FileError(Exception):
    """Why a file is not one of weights."""


class _Storage(NamedTuple):
    elements: np.dtype[Any]
    key: str
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read the weights that ``torch.save(model.state_dict(), path)`` wrote in PyTorch's legacy format.

    Returns:
        Arrays of float32 or int64 by name, read-only, in the shapes that PyTorch has.

    Raises:
        InputError: The file cannot be read, is damaged, or is not of this format.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _FileError(f"it is larger than {MAX_BYTES >> 20} MiB")
        stream = io.BytesIO(path.read_bytes())
        if stream.getvalue().startswith(ZIP_SIGNATURE):
            raise _FileError("it is a zip file; torch.save(..., _use_new_zipfile_serialization=False) avoids that")
        return _read(stream)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except _FileError as error:
        raise InputError(f"{path}: is not a file of weights in PyTorch's legacy format: {error}") from None


def _read(stream: io.BytesIO) -> dict[str, np.ndarray]:
    magic, version, _, tensors, keys = (_unpickled(stream) for _ in range(5))
    if (magic, version) != (MAGIC_NUMBER, VERSION):
        raise _FileError("it does not begin with that format's magic number and version")
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise _FileError("it contains something else than a dictionary of tensors")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _FileError("its list of storages is damaged")
    declared: dict[str, _Storage] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, _Tensor):
            raise _FileError(f"{_shown(name)} is no tensor")
        if declared.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise _FileError(f"the storage of {_shown(name)} is declared twice")
    if sorted(keys) != sorted(declared):
        raise _FileError("its list of storages is not that of its tensors")
    values = {key: _storage_values(stream, declared[key]) for key in keys}
    return {name: _array(tensor, values[tensor.storage.key]) for name, tensor in tensors.items()}


def _unpickled(stream: io.BytesIO) -> Any:
    """Return the next object of a stream, and leave the stream behind it."""
    start = stream.tell()
    try:
        _check_instructions(stream)
        stream.seek(start)
        return _Unpickler(stream).load()
    except _MALFORMED as error:
        raise _FileError(f"its pickle is damaged ({_shown(str(error))})") from None


def _check_instructions(stream: io.BytesIO) -> None:
    """Refuse a pickle that needs other instructions than weights do, or too much time or memory.

    Its stack is followed, with the size of each tuple in place of the objects: a tuple may contain the same tuple
    several times, and that one another, so that a few instructions make one whose hash is computed for years.
    """
    stack: list[int] = []
    marks: list[int] = []  # how high the stack was
    memo: dict[int, int] = {}
    for number, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
        name, position = instruction.name, int(argument) if type(argument) is int else 0
        if name not in INSTRUCTIONS:
            raise _FileError(f"its pickle has the instruction {name}, which weights do not need")
        # The unpickler's memo is an array up to the greatest position used: one instruction could fill the memory.
        if number >= MAX_INSTRUCTIONS or (name == "LONG_BINPUT" and position >= MAX_INSTRUCTIONS):
            raise _FileError("its pickle is far longer than that of any weights")
        match name:
            case "MARK":
                marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                memo[position] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[position])
            case _:
                taken = _take(stack, marks, instruction.stack_before)
                size = 1 + sum(taken) if name.startswith("TUPLE") else 1
                if size > MAX_TUPLE:
                    raise _FileError("its pickle has a tuple that is far larger than those of any weights")
                stack += [size] * len(instruction.stack_after)


def _take(stack: list[int], marks: list[int], before: Sequence[pickletools.StackObject]) -> list[int]:
    """Remove from a stack what an instruction takes from it."""
    has_mark = pickletools.markobject in before
    first = marks.pop() - before.index(pickletools.markobject) if has_mark else len(stack) - len(before)
    if first < 0:
        raise IndexError("it takes more than there is")
    taken = stack[first:]
    del stack[first:]
    return taken


def _shown(name: str) -> str:
    return f"{name[:MAX_SHOWN]!a}"[1:-1]


class _Unpickler(pickle.Unpickler):
    """Knows a dictionary, the function that makes a tensor, and the names of storages; the rest does not exist."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _tensor(*arguments)  # a new object each time: a pickle can set its attributes
        if module == "torch" and name in ELEMENTS:
            return name
        raise _FileError(f"it names {_shown(f'{module}.{name}')}, which is not read; expected float32 weights")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, elements, key, _, length, view = pid
        if kind != "storage" or elements not in ELEMENTS or type(key) is not str or not _is_size(length) or view:
            raise _FileError("a storage is declared in a way that is not read")
        return _Storage(ELEMENTS[elements], key, length)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """Check what the file says about a tensor against the size of its storage."""
    if not isinstance(storage, _Storage) or type(shape) is not tuple or type(strides) is not tuple:
        raise _FileError("a tensor is declared in a way that is not read")
    if len(shape) > MAX_AXES:
        raise _FileError(f"a tensor has {len(shape)} axes")
    if len(shape) != len(strides) or not all(map(_is_size, (offset, *shape, *strides))):
        raise _FileError("a tensor has sizes or strides that are no sizes or strides")
    # Counted first: with a stride of 0 a small storage would be a large array.
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.length or (0 not in shape and last >= storage.length):
        raise _FileError("a tensor is larger than its storage")
    return _Tensor(storage, offset, shape, strides)


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _storage_values(stream: io.BytesIO, storage: _Storage) -> np.ndarray:
    count = int.from_bytes(stream.read(8), "little")
    if count != storage.length:
        raise _FileError(f"a storage has {count} elements, expected {storage.length}")
    content = stream.read(count * storage.elements.itemsize)
    if len(content) < count * storage.elements.itemsize:
        raise _FileError("it ends too early")
    return np.frombuffer(content, storage.elements)


def _array(tensor: _Tensor, values: np.ndarray) -> np.ndarray:
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, values.dtype)
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.ndarray(tensor.shape, values.dtype, values[tensor.offset :], strides=strides)
