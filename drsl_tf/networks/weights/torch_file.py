"""Reads the tensors of PyTorch's older weight files, without PyTorch and without `pickle`.

Before version 1.6, `torch.save` writes five pickles (a magic number, the number of the format,
facts about the machine, the object, the list of its storages' keys), then every storage: the number
of its elements in eight bytes, and the elements.

A pickle is a program that can call any function. Here its opcodes are decoded (`pickletools`), and
those that a dict of tensors needs are interpreted: four names are known, and none is looked up,
imported or called.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import os
import pickletools
from typing import Any

import numpy as np

from data_pipelines.errors import UserError
from drsl_tf.networks.weights.weight_files import check_exists

MAX_BYTES = 64 * 1024**2
"""Maximum size in bytes of a file; that of EfficientNet-Lite0 has 19 MB."""

# Those of EfficientNet-Lite0's file have 47 kB. This bounds time and memory, too.
_MAX_PICKLE_BYTES = 256 * 1024
_MAX_DIMENSIONS = 8
_MAX_NAME = 200
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_FORMAT = 1001


class _Known(enum.Enum):
    """The names that a pickle may contain."""

    DICT = "collections OrderedDict"
    TENSOR = "torch._utils _rebuild_tensor_v2"
    FLOATS = "torch FloatStorage"
    INTEGERS = "torch LongStorage"


_DTYPES = {_Known.FLOATS: np.dtype("<f4"), _Known.INTEGERS: np.dtype("<i8")}


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: str, owner: str) -> dict[str, np.ndarray]:
    """Reads a dict of tensors (a "state dict") from a file of PyTorch's format before 1.6.

    Args:
        path: the file.
        owner: name of the network, for error messages.

    Returns:
        Dict of name -> array, float32 or int64, in the file's order. The arrays are read-only
        views of the file's content.

    Raises:
        UserError: the file is missing, too large, or holds anything else.
    """
    check_exists(path, owner)
    try:
        size = os.path.getsize(path)
        _require(size <= MAX_BYTES, f"it has {size} bytes, more than the limit of {MAX_BYTES}")
        with open(path, "rb") as file:
            return _read(file.read())
    except (OSError, ValueError, LookupError) as error:
        raise UserError(
            f"The weight file {path!r} of {owner!r} cannot be read as a PyTorch file of tensors "
            f"({error}): install, download or copy it again."
        ) from error


def _read(data):
    """Returns the arrays of a file's content."""
    _require(
        not data.startswith(b"PK"),
        "it is a zip archive, the format since PyTorch 1.6: save it there again with "
        "_use_new_zipfile_serialization=False",
    )
    stream = io.BytesIO(data[:_MAX_PICKLE_BYTES])
    _require(_interpret(stream) == _MAGIC_NUMBER, "its magic number is not PyTorch's")
    _require(_interpret(stream) == _FORMAT, f"the number of its format is not {_FORMAT}")
    machine = _interpret(stream)
    _require(
        isinstance(machine, dict) and machine.get("little_endian") is True,
        "its numbers are not little-endian",
    )
    tensors = _interpret(stream)
    _require(isinstance(tensors, dict), "it holds no dict")
    declared: dict[str, _Storage] = {}
    for name, tensor in tensors.items():
        _require(isinstance(tensor, _Tensor), f"its entry {name!r} is no tensor")
        storage = tensor.storage
        known = declared.setdefault(storage.key, storage)
        _require(known == storage, f"its storage {storage.key!r} has two types or sizes")
    keys = _interpret(stream)
    storages = _find_storages(data, stream.tell(), keys, declared)
    return {name: _view(name, tensor, storages) for name, tensor in tensors.items()}


def _interpret(stream):
    """Returns the value of the next pickle; see `pickletools` for the opcodes."""
    stack: list[Any] = []
    outer: list[list[Any]] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case "NONE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                stack.append(argument)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "MARK":
                outer.append(stack)
                stack = []
            case "TUPLE":
                items, stack = stack, outer.pop()
                stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(opcode.name[-1]))]
                stack.append(tuple(reversed(items)))
            case "APPEND":
                _extend(stack, [stack.pop()])
            case "APPENDS":
                items, stack = stack, outer.pop()
                _extend(stack, items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack, [key, value])
            case "SETITEMS":
                items, stack = stack, outer.pop()
                _set_items(stack, items)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_find_name(argument))
            case "BINPERSID":
                stack.append(_make_storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_make_object(function, arguments))
            case "BUILD":  # The versions of PyTorch's layers, an attribute of the dict of tensors.
                stack.pop()
                _require(isinstance(stack[-1], dict), "it sets attributes of another object")
            case _:
                raise ValueError(f"its opcode {opcode.name} has no place in a dict of tensors")
    raise ValueError("a pickle has no end")


def _extend(stack, items):
    _require(isinstance(stack[-1], list), "it extends what is no list")
    stack[-1].extend(items)


def _set_items(stack, items):
    _require(isinstance(stack[-1], dict), "it sets items of what is no dict")
    _require(len(items) % 2 == 0, "a key has no value")
    for key, value in zip(items[::2], items[1::2]):
        _require(_is_name(key) and key not in stack[-1], "a key is no name, or there twice")
        stack[-1][key] = value


def _find_name(argument):
    for known in _Known:
        if known.value == argument:
            return known
    raise ValueError(f"it names {argument[:_MAX_NAME]!r}, which no file of tensors needs")


def _make_storage(identity):
    """Returns the storage that a persistent id stands for."""
    _require(isinstance(identity, tuple) and len(identity) == 6, "a storage is malformed")
    kind, name, key, _, count, view = identity
    _require(
        kind == "storage"
        and isinstance(name, _Known)
        and name in _DTYPES
        and _is_name(key)
        and _is_count(count)
        and view is None,
        "a storage is malformed",
    )
    return _Storage(key, _DTYPES[name], count)


def _make_object(function, arguments):
    """Returns what a call in a pickle stands for: an empty dict, or a tensor."""
    if function is _Known.DICT and arguments == ():
        return {}
    _require(
        function is _Known.TENSOR and isinstance(arguments, tuple) and len(arguments) == 6,
        "it calls something else than the constructors of an empty dict and of a tensor",
    )
    storage, offset, sizes, strides, _, _ = arguments
    _require(
        isinstance(storage, _Storage)
        and _is_count(offset)
        and isinstance(sizes, tuple)
        and isinstance(strides, tuple)
        and len(sizes) == len(strides) <= _MAX_DIMENSIONS
        and all(_is_count(number) for number in (*sizes, *strides)),
        "a tensor is malformed",
    )
    return _Tensor(storage, offset, sizes, strides)


def _find_storages(data, position, keys, declared):
    """Returns the storages' elements by key; they fill the file from a position to its end."""
    _require(
        isinstance(keys, list)
        and all(isinstance(key, str) for key in keys)
        and sorted(keys) == sorted(declared),
        "its list of storages is not that of its tensors",
    )
    found = {}
    for key in keys:
        storage = declared[key]
        count = int.from_bytes(data[position : position + 8], "little")
        _require(count == storage.count, f"its storage {key!r} has another size than declared")
        position += 8
        end = position + count * storage.dtype.itemsize
        _require(end <= len(data), f"it ends inside its storage {key!r}")
        found[key] = np.frombuffer(data, storage.dtype, count, position)
        position = end
    _require(position == len(data), "it continues after its last storage")
    return found


def _view(name, tensor, storages):
    """Returns a tensor's array: a part of its storage, with the dimensions in any order."""
    order = sorted(range(len(tensor.sizes)), key=lambda i: tensor.strides[i], reverse=True)
    length = 1
    for i in reversed(order):
        size = tensor.sizes[i]
        _require(
            size > 0 and (size == 1 or tensor.strides[i] == length),
            f"the elements of its tensor {name!r} do not lie side by side",
        )
        length *= size
    end = tensor.offset + length
    _require(end <= tensor.storage.count, f"its tensor {name!r} exceeds its storage")
    values = storages[tensor.storage.key][tensor.offset : end]
    return values.reshape([tensor.sizes[i] for i in order]).transpose(np.argsort(order))


def _is_name(value):
    return isinstance(value, str) and len(value) <= _MAX_NAME


def _is_count(value):
    return type(value) is int and value >= 0


def _require(condition, reason):
    """Raises a ValueError unless a condition holds."""
    if not condition:
        raise ValueError(reason)
