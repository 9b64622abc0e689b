"""Writes weight files in the layout of PyTorch before 1.6, sound ones and hostile ones."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
MACHINE = {
    "protocol_version": 1001, "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}  # fmt: skip
ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
_STORAGES = {"float32": b"ctorch\nFloatStorage\n", "int64": b"ctorch\nLongStorage\n"}


def encode_value(value) -> bytes:
    """Returns the opcodes that push a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def encode_tuple(parts: Sequence[bytes]) -> bytes:
    """Returns the opcodes that push a tuple of what each part pushes."""
    return b"(" + b"".join(parts) + b"t"


def encode_tensor(
    key="0", count=6, offset=0, sizes=(2, 3), strides=(3, 1), storage="float32", view=None
) -> bytes:
    """Returns the opcodes that push a tensor; by default one that fills its storage."""
    storage = _STORAGES.get(storage, storage)
    parts = [encode_value("storage"), storage, *map(encode_value, (key, "cpu", count, view))]
    arguments = [
        encode_tuple(parts) + b"Q", *map(encode_value, (offset, sizes, strides, False)),
        ORDERED_DICT + b")R",
    ]  # fmt: skip
    return REBUILD_TENSOR + encode_tuple(arguments) + b"R"


def encode_dict(tensors: Mapping[str, bytes]) -> bytes:
    """Returns the opcodes that push what a network's `state_dict` returns."""
    items = b"".join(encode_value(name) + tensor for name, tensor in tensors.items())
    versions = {"_metadata": {name.rpartition(".")[0]: {"version": 1} for name in tensors}}
    return ORDERED_DICT + b")R(" + items + b"u" + encode_value(versions) + b"b"


def encode_file(
    body: bytes,
    storages: Mapping[str, np.ndarray],
    *,
    keys=None,
    magic_number=MAGIC_NUMBER,
    number=1001,
    machine=MACHINE,
) -> bytes:
    """Returns a file: the pickles, of which `body` is the fourth, then the storages."""
    pickles = [encode_value(value) for value in (magic_number, number, machine)]
    pickles += [body, encode_value(list(storages) if keys is None else keys)]
    content = b"".join(b"\x80\x02" + code + b"." for code in pickles)
    for values in storages.values():
        content += struct.pack("<q", values.size) + values.tobytes()
    return content


def encode_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the file of arrays, each in a storage of its own, in its order in memory."""
    tensors, storages = {}, {}
    for index, (name, array) in enumerate(arrays.items()):
        key = str(94_000_000 + 64 * index)
        strides = tuple(stride // array.itemsize for stride in array.strides)
        tensors[name] = encode_tensor(key, array.size, 0, array.shape, strides, array.dtype.name)
        storages[key] = array.ravel(order="K")
    return encode_file(encode_dict(tensors), dict(sorted(storages.items(), reverse=True)))
