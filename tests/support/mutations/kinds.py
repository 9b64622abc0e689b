"""Ways to damage a file: functions of its bytes and a random generator."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def flip_bits(data, rng):
    """Flips up to eight bits."""
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        data[place] ^= 1 << rng.integers(8)


def cut(data, rng):
    """Drops the end; now and then everything."""
    del data[0 if rng.random() < 0.05 else rng.integers(len(data)) :]


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
    """Changes the first bytes, which hold sizes and types; corrects a PNG's checksum."""
    data[rng.integers(min(8, len(data) - 1), min(33, len(data)))] = rng.integers(256)
    if data[12:16] == b"IHDR":
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))


def claim_extremes(data, rng):
    """Overwrites a number with the largest or smallest there is; a PNG gets a huge size."""
    if data[12:16] == b"IHDR":
        width, height = (int(n) for n in 2 ** rng.integers(8, 31, 2))
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        return
    if data[:1] in (b"{", b"[") or b"\n" in data[:200]:
        digits = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
        if digits:
            place = int(rng.choice(digits))
            data[place : place + 1] = [b"9" * 30, b"-1", b"1e999", b"NaN", b'"a"', b"null", b"[]"][
                rng.integers(7)
            ]
            return
    start = rng.integers(len(data))
    extremes = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(8))
    data[start : start + 4] = extremes[rng.integers(len(extremes))]


KINDS = (
    flip_bits, cut, drop_part, fill_with_zeros, repeat_part, insert_noise, change_header,
    claim_extremes,
)  # fmt: skip


def damage(data: bytes, index: int, seed: int = 0) -> bytes:
    """Damages a file in the way that an index stands for.

    Args:
        data: at least two bytes.
        index: chooses the kind, and seeds its chances.
        seed: of the whole series.

    Returns:
        The damaged content, which may be equal by chance.
    """
    damaged = bytearray(data)
    KINDS[index % len(KINDS)](damaged, np.random.default_rng([seed, index]))
    return bytes(damaged)
