"""Damaged files: every reader gives an array or one clear error, and soon."""

from __future__ import annotations

import collections
import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from data_pipelines import domains
from data_pipelines import label_spaces
from data_pipelines.errors import UserError
from tests.data_pipelines import fixtures

SIZE = (24, 36)
LIMIT_SECONDS = 10.0
OPTIONS = {"folder": {"label_space": label_spaces.cityscapes19()}}
IMAGES = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF"}


def flip_bits(data, rng):
    """Flips up to eight bits."""
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        data[place] ^= 1 << rng.integers(8)


def cut(data, rng):
    """Drops the end."""
    del data[rng.integers(len(data)) :]


def drop_part(data, rng):
    """Drops some bytes from the middle."""
    start = rng.integers(len(data))
    del data[start : start + rng.integers(1, 40)]


def fill_with_zeros(data, rng):
    """Overwrites some bytes with zeros, as a broken disk does."""
    start = rng.integers(len(data))
    end = min(start + rng.integers(1, 80), len(data))
    data[start:end] = bytes(end - start)


def repeat_part(data, rng):
    """Writes a part twice."""
    start = rng.integers(len(data))
    part = data[start : start + rng.integers(1, 60)]
    data[start:start] = part


def insert_noise(data, rng):
    """Inserts random bytes."""
    start = rng.integers(len(data))
    data[start:start] = rng.integers(0, 256, rng.integers(1, 60), np.uint8).tobytes()


def change_header(data, rng):
    """Changes the first bytes, where sizes and kinds stand; mends a PNG's checksum."""
    data[rng.integers(8, 33)] = rng.integers(256)
    if data[12:16] == b"IHDR":
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))


MUTATIONS = (
    flip_bits, cut, drop_part, fill_with_zeros, repeat_part, insert_noise, change_header,
)  # fmt: skip


def check_mutations(decode, data, count, shape_tail):
    """Decodes `count` damaged copies of a file; returns how often each came to what."""
    outcomes = collections.Counter()
    slowest = 0.0
    for index in range(count):
        mutation = MUTATIONS[index % len(MUTATIONS)]
        damaged = bytearray(data)
        mutation(damaged, np.random.default_rng(index))
        started = time.monotonic()
        try:
            array = decode(bytes(damaged))
        except UserError as error:
            assert str(error)
            outcomes["error"] += 1
        else:
            assert array.dtype == np.uint8 and array.ndim == 2 + len(shape_tail)
            assert array.shape[2:] == shape_tail and array.size
            outcomes["array"] += 1
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < LIMIT_SECONDS
    assert sum(outcomes.values()) == count
    # Both happen: damage is noticed, and harmless damage is survived.
    assert outcomes["error"] > count // 10 and outcomes["array"] > 0, outcomes
    return outcomes


def make_domain(name, root="nowhere"):
    return domains.find_reader(name)(root=root, max_pixels=10**6, **OPTIONS.get(name, {}))


def encode_image(kind):
    stream = io.BytesIO()
    Image.fromarray(fixtures.make_image(np.random.default_rng(0), SIZE)).save(stream, kind)
    return stream.getvalue()


def encode_label(name):
    """Encodes a label as the data set stores it."""
    rng = np.random.default_rng(0)
    if name == "synthia":
        raw = fixtures.make_raw(rng, fixtures.SYNTHIA_IDS, SIZE).astype(np.uint16)
        return fixtures.encode_uint16(np.stack([raw, raw * 9, raw * 0], -1))
    picture = Image.fromarray(fixtures.make_raw(rng, range(11), SIZE))
    if name in ("gta5", "mapillary"):
        picture.putpalette([(7 * index + 91) % 256 for index in range(768)])
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", IMAGES)
def test_damaged_images(suffix):
    decode = make_domain("folder").decode_image
    check_mutations(decode, encode_image(IMAGES[suffix]), 1050, (3,))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", domains.READERS)
def test_damaged_pairs_of_every_reader(name, tmp_path):
    if name == "mapillary":
        fixtures.write_mapillary(tmp_path)
    domain = make_domain(name, str(tmp_path))
    kind = "JPEG" if domain.image_suffixes[0] == ".jpg" else "PNG"
    images = check_mutations(domain.decode_image, encode_image(kind), 1050, (3,))
    labels = check_mutations(domain.decode_label, encode_label(name), 1050, ())
    print(f"{name}: images {dict(images)}, labels {dict(labels)}")
