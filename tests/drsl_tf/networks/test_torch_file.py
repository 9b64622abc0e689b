"""PyTorch's older weight files: tensors are read, anything else is refused and never run."""

from __future__ import annotations

import os
import pickle
import pickletools
import time

import numpy as np
import pytest

from data_pipelines.errors import UserError
from drsl_tf.networks.weights import torch_file
from tests.support import torch_files
from tests.support.mutations import kinds
from tests.support.mutations.record import LIMIT_SECONDS
from tests.support.torch_files import ORDERED_DICT
from tests.support.torch_files import REBUILD_TENSOR
from tests.support.torch_files import encode_dict
from tests.support.torch_files import encode_file
from tests.support.torch_files import encode_tensor
from tests.support.torch_files import encode_tuple
from tests.support.torch_files import encode_value

_VALUES = {"0": np.arange(6, dtype=np.float32)}


def _make_arrays():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 2, 2, 4)).astype(np.float32)
    return {
        "conv.weight": kernel.transpose(3, 2, 0, 1),  # As the real file's: last axis outermost.
        "depthwise.weight": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "bn.weight": rng.normal(size=4).astype(np.float32),
        "bn.num_batches_tracked": np.array(2**40 + 1, np.int64),
        "fc.weight": np.asfortranarray(rng.normal(size=(2, 5)), np.float32),
    }


def _read(tmp_path, data):
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    return torch_file.read_tensors(str(path), "net")


def _refuse(tmp_path, data, words="cannot be read as a PyTorch file"):
    with pytest.raises(UserError, match=words) as caught:
        _read(tmp_path, data)
    assert "net.pth" in str(caught.value) and "again" in str(caught.value)


def test_what_is_written_is_read_with_its_strides(tmp_path):
    arrays = _make_arrays()
    tensors = _read(tmp_path, torch_files.encode_arrays(arrays))
    assert list(tensors) == list(arrays)
    assert sum(not tensor.flags.c_contiguous for tensor in tensors.values()) == 2
    for name, array in arrays.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_tensors_may_share_a_storage(tmp_path):
    body = encode_dict(
        {
            "whole": encode_tensor(),
            "transposed": encode_tensor(sizes=(3, 2), strides=(1, 3)),
            "part": encode_tensor(offset=4, sizes=(2,), strides=(1,)),
            "with ones": encode_tensor(sizes=(1, 6, 1), strides=(99, 1, 0)),
        }
    )
    tensors = _read(tmp_path, encode_file(body, _VALUES))
    values = _VALUES["0"].reshape(2, 3)
    np.testing.assert_array_equal(tensors["whole"], values)
    np.testing.assert_array_equal(tensors["transposed"], values.T)
    np.testing.assert_array_equal(tensors["part"], [4, 5])
    np.testing.assert_array_equal(tensors["with ones"], values.reshape(1, 6, 1))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"offset": 1}, "exceeds its storage"),
        ({"offset": 2**70}, "exceeds its storage"),
        ({"offset": -1}, "a tensor is malformed"),
        ({"offset": True}, "a tensor is malformed"),
        ({"sizes": (3, 3)}, "exceeds its storage"),
        ({"sizes": (2**33, 2**33), "strides": (2**33, 1)}, "exceeds its storage"),
        ({"sizes": (2**200,), "strides": (1,)}, "exceeds its storage"),
        ({"sizes": (0, 3)}, "do not lie side by side"),
        ({"sizes": (-2, 3)}, "a tensor is malformed"),
        ({"sizes": ("2", 3)}, "a tensor is malformed"),
        ({"sizes": [2, 3]}, "a tensor is malformed"),
        ({"sizes": (1,) * 9, "strides": (1,) * 9}, "a tensor is malformed"),
        ({"sizes": (2,)}, "a tensor is malformed"),
        ({"strides": (-3, 1)}, "a tensor is malformed"),
        ({"strides": (3, -1)}, "a tensor is malformed"),
        ({"strides": (0, 0)}, "do not lie side by side"),  # All elements in one place.
        ({"strides": (2, 1)}, "do not lie side by side"),  # Rows that overlap.
        ({"sizes": (2, 2)}, "do not lie side by side"),  # Rows with gaps.
        ({"strides": (2**62, 1)}, "do not lie side by side"),
        ({"key": "1"}, "list of storages"),
        ({"key": 0}, "a storage is malformed"),
        ({"key": "k" * 1000}, "a storage is malformed"),
        ({"count": 5}, "another size than declared"),
        ({"count": 2**62}, "another size than declared"),
        ({"count": -1}, "a storage is malformed"),
        ({"view": ("0", 0, 6)}, "a storage is malformed"),
        ({"storage": "int64"}, "ends inside its storage"),
        ({"storage": b"ctorch\nHalfStorage\n"}, "it names 'torch HalfStorage'"),
        ({"storage": ORDERED_DICT}, "a storage is malformed"),
        ({"storage": encode_value({})}, "a storage is malformed"),
        # The hash of a tuple so deep would overflow the stack of C.
        ({"storage": b")" + b"\x85" * 200_000}, "a storage is malformed"),
    ],
)
def test_tensors_outside_of_their_storage_are_refused(tmp_path, changes, words):
    body = encode_dict({"kernel": encode_tensor(**changes)})
    _refuse(tmp_path, encode_file(body, _VALUES), words)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"magic_number": 7}, "magic number"),
        ({"magic_number": "x"}, "magic number"),
        ({"number": 1002}, "format is not 1001"),
        ({"machine": {"little_endian": False}}, "not little-endian"),
        ({"machine": {"little_endian": 1}}, "not little-endian"),
        ({"machine": {}}, "not little-endian"),
        ({"machine": []}, "not little-endian"),
        ({"keys": []}, "list of storages"),
        ({"keys": ["0", "0"]}, "list of storages"),
        ({"keys": [{}]}, "list of storages"),
        ({"keys": {"0": "0"}}, "list of storages"),
    ],
)
def test_other_headers_are_refused(tmp_path, changes, words):
    body = encode_dict({"kernel": encode_tensor()})
    _read(tmp_path, encode_file(body, _VALUES))
    _refuse(tmp_path, encode_file(body, _VALUES, **changes), words)


def test_storages_end_where_the_file_does(tmp_path):
    body = encode_dict({"kernel": encode_tensor(), "other": encode_tensor(key="1")})
    storages = {"0": _VALUES["0"], "1": -_VALUES["0"]}
    data = encode_file(body, storages)
    np.testing.assert_array_equal(_read(tmp_path, data)["other"].ravel(), storages["1"])
    _refuse(tmp_path, data + b"\0", "continues after")
    _refuse(tmp_path, data[:-1], "ends inside")
    _refuse(tmp_path, encode_file(body, _VALUES, keys=["0", "1"]), "another size")
    differing = {"kernel": encode_tensor(), "other": encode_tensor(count=7)}
    _refuse(tmp_path, encode_file(encode_dict(differing), _VALUES), "two types or sizes")


class _Trap:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


_NAMES = [
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"c__builtin__\neval\n", b"ctorch\nload\n",
    b"ctorch.nn.modules.linear\nLinear\n", b"ctorch._utils\n_rebuild_tensor\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nstorage\n", b"ccollections\nOrderedDict \n",
    b"ccollections\nOrderedDict.fromkeys\n", b"ccollections OrderedDict\n\n", b"c\n\n",
    b"ccollections\n__builtins__\n", b"ctorch\nFloatStorage.__class__\n",
]  # fmt: skip


@pytest.mark.parametrize("name", _NAMES)
def test_other_names_are_refused(tmp_path, name):
    for body in (name, name + b")R", encode_dict({"kernel": name + encode_value(("x",)) + b"R"})):
        _refuse(tmp_path, encode_file(body, _VALUES), "which no file of tensors needs")


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("protocol", range(6))
def test_code_is_refused_in_every_pickle_and_protocol(tmp_path, place, protocol):
    trap = str(tmp_path / "unpickled")
    bomb = pickle.dumps({"kernel": _Trap(os.mkdir, trap)}, protocol)
    sound = encode_file(encode_dict({"kernel": encode_tensor()}), _VALUES)
    ends, position = [0], 0
    for _ in range(5):
        position += list(pickletools.genops(sound[position:]))[-1][2] + 1
        ends.append(position)
    _refuse(tmp_path, sound[: ends[place]] + bomb + sound[ends[place + 1] :])
    assert not os.path.exists(trap)
    pickle.loads(bomb)
    assert os.path.exists(trap)


_TENSOR = encode_tensor()
_PUSH_NAMES = encode_value("collections") + encode_value("OrderedDict")


@pytest.mark.parametrize(
    "body, words",
    [
        # Names by attribute, and further opcodes that find or call something.
        (encode_value("collections") + encode_value("OrderedDict.fromkeys") + b"\x93", "STACK_GLO"),
        (_PUSH_NAMES + b"\x93)R", "STACK_GLOBAL"),
        (b"(icollections\nOrderedDict\n", "INST"),
        (b"(" + ORDERED_DICT + b"o", "OBJ"),
        (ORDERED_DICT + b")\x81", "NEWOBJ"),
        (ORDERED_DICT + b")}\x92", "NEWOBJ_EX"),
        (b"\x82\x01", "EXT1"),
        (b"P0\n", "PERSID"),
        # Calls of known names with other arguments.
        (ORDERED_DICT + encode_value((2**1000,)) + b"R", "it calls something else"),
        (ORDERED_DICT + encode_tuple([encode_value([["a", 1]])]) + b"R", "it calls something"),
        (REBUILD_TENSOR + b")R", "it calls something else"),
        (b"ctorch\nFloatStorage\n" + encode_value((2**40,)) + b"R", "it calls something else"),
        (encode_value("eval") + encode_value(("1",)) + b"R", "it calls something else"),
        (REBUILD_TENSOR + encode_value((1, 2, 3, 4, 5, 6)) + b"R", "a tensor is malformed"),
        (encode_value(("storage",)) + b"Q", "a storage is malformed"),
        (encode_value("0") + b"Q", "a storage is malformed"),
        # Attributes of what is no dict.
        (_TENSOR + encode_value({"storage": 1}) + b"b", "attributes of another object"),
        (ORDERED_DICT + encode_value({"a": 1}) + b"b", "attributes of another object"),
        (b"]" + encode_value({"a": 1}) + b"b", "attributes of another object"),
        # Entries that are no tensors, and keys that are no names.
        (encode_value([]), "it holds no dict"),
        (encode_value(None), "it holds no dict"),
        (_TENSOR, "it holds no dict"),
        (encode_value({"epoch": 3}), "its entry 'epoch' is no tensor"),
        (encode_dict({"state_dict": encode_dict({"kernel": _TENSOR})}), "'state_dict' is no tens"),
        (b"}q\0" + encode_value("self") + b"h\0s", "its entry 'self' is no tensor"),
        (b"}" + encode_value(3) + _TENSOR + b"s", "a key is no name"),
        (b"}" + encode_value("k" * 1000) + _TENSOR + b"s", "a key is no name"),
        (b"}(" + (encode_value("a") + _TENSOR) * 2 + b"u", "or there twice"),
        (b"})" + b"\x85" * 200_000 + b"Ns", "a key is no name"),
        (b"}(" + encode_value("a") + b"u", "a key has no value"),
        (b"]" + encode_value("a") + _TENSOR + b"s", "items of what is no dict"),
        (b"}" + _TENSOR + b"a", "what is no list"),
        # The stack and the memo.
        (b"", "cannot be read"), (b"s", "cannot be read"), (b"\x87", "cannot be read"),
        (b"t", "cannot be read"), (b"u", "cannot be read"), (b"R", "cannot be read"),
        (b"b", "cannot be read"), (b"q\0", "cannot be read"), (b"h\0", "cannot be read"),
        (b"}r\xff\xff\xff\xff" + b"j\xff\xff\xff\x7f", "cannot be read"),
        # Sizes that promise much: texts, bytes, numbers, frames; nesting without end.
        (b"X\xff\xff\xff\xff", "cannot be read"),
        (b"\x8d" + b"\xff" * 7 + b"\x7f", "cannot be read"),
        (b"\x8e" + b"\xff" * 7 + b"\x7f", "cannot be read"),
        (b"\x96" + (2**40).to_bytes(8, "little"), "cannot be read"),
        (b"\x8b\xff\xff\xff\x7f", "cannot be read"),
        (b"\x8b\xff\xff\xff\xff", "cannot be read"),
        (b"\x95" + b"\xff" * 8, "cannot be read"),
        (b"I" + b"9" * 100_000 + b"\n", "cannot be read"),
        (b"(" * 300_000, "cannot be read"),
        (b"]" * 100_000 + b"a" * 99_999, "it holds no dict"),
        (b"]q\0" + b"(h\0h\0l" * 100, "LIST"),
    ],
)  # fmt: skip
def test_other_pickles_are_refused(tmp_path, body, words):
    _refuse(tmp_path, encode_file(body, _VALUES), words)


def test_a_memo_that_doubles_takes_no_time(tmp_path):
    """2^60 elements, were they ever counted or compared."""
    body = b")q\0" + b"(h\0h\0tq\0" * 60
    _refuse(tmp_path, encode_file(body, _VALUES), "it holds no dict")
    body += b"}" + encode_value("kernel") + b"h\0s"
    _refuse(tmp_path, encode_file(body, _VALUES), "its entry 'kernel' is no tensor")


def test_large_and_missing_files_and_newer_formats_are_refused(tmp_path, monkeypatch):
    data = torch_files.encode_arrays(_make_arrays())
    monkeypatch.setattr(torch_file, "MAX_BYTES", len(data))
    _read(tmp_path, data)
    monkeypatch.setattr(torch_file, "MAX_BYTES", len(data) - 1)
    _refuse(tmp_path, data, "more than the limit")
    _refuse(tmp_path, b"PK\3\4", "_use_new_zipfile_serialization=False")
    _refuse(tmp_path, b"")
    for path in (tmp_path, tmp_path / "absent.pth"):
        with pytest.raises(UserError, match="does not exist"):
            torch_file.read_tensors(str(path), "net")


def _check_damaged(tmp_path, data, damaged):
    """Returns whether a damaged file is read; then its tensors are those of the sound one.

    Other names and shapes count as refused, since no layer of the network fits them. No checksum
    protects the elements: where their bytes are damaged, they differ.
    """
    start = time.monotonic()
    try:
        tensors = _read(tmp_path, damaged)
    except UserError:
        tensors = {}
    assert time.monotonic() - start < LIMIT_SECONDS
    arrays = _make_arrays()
    if _list_shapes(tensors) != _list_shapes(arrays):
        return False
    if damaged.endswith(data[_find_storages(data) :]):
        for name, array in arrays.items():
            np.testing.assert_array_equal(tensors[name], array)
    return True


def _list_shapes(arrays):
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _find_storages(data):
    return len(data) - sum(8 + array.nbytes for array in _make_arrays().values())


def test_files_cut_anywhere_are_refused(tmp_path):
    data = torch_files.encode_arrays(_make_arrays())
    for end in range(0, len(data), 3):
        assert not _check_damaged(tmp_path, data, data[:end])


def test_a_flipped_bit_in_a_pickle_changes_no_element(tmp_path):
    data = torch_files.encode_arrays(_make_arrays())
    places = range(_find_storages(data))
    outcomes = []
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        outcomes.append(_check_damaged(tmp_path, data, bytes(damaged)))
    # Some bytes say nothing: the versions of layers, the device of a tensor.
    assert 0 < sum(outcomes) < len(places) / 3


def test_damage_of_eight_kinds_is_refused_or_changes_no_shape(tmp_path):
    data = torch_files.encode_arrays(_make_arrays())
    outcomes = [_check_damaged(tmp_path, data, kinds.damage(data, i)) for i in range(1200)]
    assert 0 < sum(outcomes) < 600
