"""PyTorch's legacy files, written here as torch.save writes them; damaged and malicious ones are one line."""

import contextlib
import io
import os
import pickle
import random
import struct
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from fashion.errors import InputError
from fashion.models import pytorch_file
from fashion.models.pytorch_file import MAGIC_NUMBER, VERSION, read_state_dict

VALUES = np.arange(24, dtype=np.float32)


class Storage:
    def __init__(self, key: str, values: np.ndarray, kind: str = "FloatStorage", count: object = None) -> None:
        self.key, self.values, self.kind = key, values, kind
        self.count = len(values) if count is None else count


class Tensor:
    def __init__(self, storage: Storage, offset: object, shape: object, strides: object) -> None:
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> tuple | None:
        if not isinstance(value, Storage):
            return None
        return "storage", getattr(sys.modules["torch"], value.kind), value.key, "cpu", value.count, None


@pytest.fixture(autouse=True)
def torch(monkeypatch) -> None:
    """A module of that name with what a file refers to, so that pickle can write the references."""
    package, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "HalfStorage"):
        setattr(package, name, type(name, (), {"__module__": "torch"}))
    utils._rebuild_tensor_v2 = types.FunctionType((lambda: None).__code__, {}, "_rebuild_tensor_v2")
    utils._rebuild_tensor_v2.__module__, utils._rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    package._utils = utils
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def dumped(content: object) -> bytes:
    stream = io.BytesIO()
    Pickler(stream, 2).dump(content)
    return stream.getvalue()


def file_of(tensors: object, storages: list[Storage], state: bytes | None = None) -> bytes:
    parts = [dumped(MAGIC_NUMBER), dumped(VERSION), dumped({"little_endian": True}), state or dumped(tensors)]
    parts.append(dumped([storage.key for storage in storages]))
    for storage in storages:
        parts += [struct.pack("<q", len(storage.values)), storage.values.tobytes()]
    return b"".join(parts)


def good_file() -> bytes:
    first, steps = Storage("7", VALUES), Storage("3", np.array([41], np.int64), "LongStorage")
    tensors = OrderedDict(
        plain=Tensor(first, 0, (2, 12), (12, 1)),
        transposed=Tensor(first, 0, (3, 2, 4), (1, 12, 3)),  # not contiguous, as 50 tensors of EfficientNet-Lite0
        part=Tensor(first, 20, (2, 2), (2, 1)),
        empty=Tensor(first, 0, (0, 5), (5, 1)),
        steps=Tensor(steps, 0, (), ()),
    )
    tensors._metadata = OrderedDict({"": {"version": 1}})  # as state_dict() has it
    return file_of(tensors, [first, steps])


def read(content: bytes, folder: Path) -> dict[str, np.ndarray]:
    (folder / "weights.pth").write_bytes(content)
    return read_state_dict(folder / "weights.pth")


def test_tensors_are_read_by_their_offsets_and_strides(tmp_path):
    arrays = read(good_file(), tmp_path)
    assert list(arrays) == ["plain", "transposed", "part", "empty", "steps"]
    assert np.array_equal(arrays["plain"], VALUES.reshape(2, 12))
    assert np.array_equal(arrays["transposed"], VALUES.reshape(2, 4, 3).transpose(2, 0, 1))
    assert np.array_equal(arrays["part"], VALUES[20:].reshape(2, 2))
    assert arrays["empty"].shape == (0, 5)
    assert (arrays["steps"].dtype, arrays["steps"].shape, int(arrays["steps"])) == (np.int64, (), 41)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (24,), (1,)),
        (0, (2, 12), (13, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (10**12,), (0,)),  # one number that would fill the memory
        (0, (2, 2), (1,)),
        (0, [2], (1,)),
        (0, (2.0,), (1,)),
        (True, (2,), (1,)),
        (0, (1,) * 70, (1,) * 70),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(offset, shape, strides, tmp_path):
    storage = Storage("7", VALUES)
    content = file_of(OrderedDict(a=Tensor(storage, offset, shape, strides)), [storage])
    with pytest.raises(InputError, match=r"weights\.pth: is not a file of weights in PyTorch's legacy format: "):
        read(content, tmp_path)


def whole(storage: Storage) -> OrderedDict:
    return OrderedDict(a=Tensor(storage, 0, (24,), (1,)))


class Command:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    storage = Storage("7", VALUES)
    content = file_of(OrderedDict(a=Command(tmp_path / "made")), [storage])
    with pytest.raises(InputError, match=r"it names posix\.mkdir, which is not read; expected float32 weights$"):
        read(content, tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (b"\x80\x02cbuiltins\neval\n.", "it names builtins.eval"),
        (b"\x80\x02ccollections\nCounter\n)R.", "it names collections.Counter"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "the instruction SHORT_BINUNICODE"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "its pickle is far longer"),  # a memo of 2 ** 32 entries
        (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "its pickle is damaged"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "its pickle is damaged"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nNR.", "its pickle is damaged"),
        (b"\x80\x02}.", "its list of storages"),
        (b"\x80\x02}X\x01\x00\x00\x00aNs.", "a is no tensor"),
        (b"\x80\x02}NNs.", "something else than a dictionary of tensors"),
        (b"\x80\x02K\x01Q.", "its pickle is damaged"),
        (b"\x80\x02" + b"0N" * 300_000 + b".", "the instruction POP, which"),
        # Tuples in tuples, as the key of a dictionary: a hash that overflows the stack, and one of 2 ** 60 objects.
        (b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.", "has a tuple that is far larger"),
        (b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns.", "has a tuple that is far larger"),
        (b"\x80\x02}X\x04\x00\x00\x00a\n\x1b[Ns.", r"a\\n\\x1b\[ is no tensor"),
    ],
)
def test_other_pickles_are_refused(state, reason, tmp_path):
    with pytest.raises(InputError, match=reason):
        read(file_of(None, [Storage("7", VALUES)], state), tmp_path)


def test_a_pickle_cannot_change_the_reader(tmp_path):
    """BUILD sets attributes: those of a function made for this one file, and nothing else is there."""
    build = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\x00\x00\x00__defaults__)s\x86b."
    with pytest.raises(InputError):
        read(file_of(None, [], build), tmp_path)
    assert "transposed" in read(good_file(), tmp_path)


def test_a_storage_that_many_tensors_share_is_in_memory_once(tmp_path):
    storage = Storage("7", VALUES)
    arrays = read(
        file_of(OrderedDict((f"t{n}", Tensor(storage, 0, (24,), (1,))) for n in range(3)), [storage]), tmp_path
    )
    assert np.shares_memory(arrays["t0"], arrays["t2"])


def test_storages_are_checked(tmp_path):
    storage = Storage("7", VALUES)
    for content, reason in [
        (file_of(whole(Storage("7", VALUES, "HalfStorage")), [storage]), "torch.HalfStorage, which is not read"),
        (file_of(whole(Storage("7", VALUES, count=25)), [storage]), "a storage has 24 elements, expected 25"),
        (file_of(whole(Storage("7", VALUES, count=-1)), [storage]), "a storage is declared in a way"),
        (file_of(whole(Storage("7", VALUES, count=2**62)), [storage]), "a storage has 24 elements"),
        (file_of(whole(storage), [Storage("8", VALUES)]), "its list of storages is not that of its tensors"),
        (
            file_of(whole(storage) | {"b": Tensor(Storage("7", VALUES, "LongStorage"), 0, (1,), (1,))}, [storage]),
            "the storage of b is declared twice",
        ),
        (b"PK\x03\x04" + bytes(100), "it is a zip file; torch.save"),
        (dumped(1) * 5, "it does not begin with that format's magic number"),
        (b"", "its pickle is damaged"),
    ]:
        with pytest.raises(InputError, match=reason):
            read(content, tmp_path)


def test_a_damaged_file_is_an_error_of_one_line_or_still_weights(tmp_path):
    """Cut at many places, and with bytes changed at random."""
    content, chance = good_file(), random.Random(0)
    for length in range(0, len(content), 9):
        with pytest.raises(InputError):
            read(content[:length], tmp_path)
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with contextlib.suppress(InputError):
            arrays = read(bytes(damaged), tmp_path)
            assert all(isinstance(array, np.ndarray) and array.size <= 24 for array in arrays.values())


def test_a_file_that_cannot_be_read_or_is_too_large_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"nosuch\.pth: cannot be read \(No such file or directory\)"):
        read_state_dict(tmp_path / "nosuch.pth")
    monkeypatch.setattr(pytorch_file, "MAX_INSTRUCTIONS", 30)
    with pytest.raises(InputError, match="its pickle is far longer than that of any weights"):
        read(good_file(), tmp_path)
    monkeypatch.setattr(pytorch_file, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="it is larger than 0 MiB"):
        read(good_file(), tmp_path)
