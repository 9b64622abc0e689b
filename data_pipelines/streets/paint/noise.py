"""Textures from integer tables: the same numbers on every machine."""

from __future__ import annotations

import functools

import numpy as np

from data_pipelines.streets.plan import draws as draws_lib

_SIDE = 512
_CELLS = 256


@functools.cache
def _cell_table():
    """White noise, float32 (256, 256) in [0, 1)."""
    raw = np.frombuffer(draws_lib.Draws(7, 1).raw(_CELLS * _CELLS), np.uint8)
    return raw.reshape(_CELLS, _CELLS).astype(np.float32) / np.float32(256.0)


@functools.cache
def _fractal_table():
    """Five octaves of smooth noise that wraps, float32 (512, 512) in [0, 1]."""
    total = np.zeros((_SIDE, _SIDE), np.float32)
    for octave in range(5):
        count = 8 << octave
        raw = np.frombuffer(draws_lib.Draws(7, 2, octave).raw(count * count), np.uint8)
        coarse = raw.reshape(count, count).astype(np.float32) / np.float32(256.0)
        total += _enlarge(_enlarge(coarse, _SIDE // count).T, _SIDE // count).T / (1 << octave)
    # Stretch the middle: sums of octaves seldom come near their bounds.
    low, high = np.float32(0.55), np.float32(1.40)
    return np.clip((total - low) / (high - low), np.float32(0), np.float32(1))


def _enlarge(rows, factor):
    """Enlarges along the first axis by linear interpolation with wrapping."""
    part = (np.arange(factor, dtype=np.float32) / np.float32(factor))[None, :, None]
    smooth = part * part * (np.float32(3) - 2 * part)
    following = np.roll(rows, -1, axis=0)
    grown = rows[:, None] * (1 - smooth) + following[:, None] * smooth
    return grown.reshape(rows.shape[0] * factor, rows.shape[1])


def cells(u: np.ndarray, v: np.ndarray | np.float32, key: int = 0) -> np.ndarray:
    """Gives each unit cell of a grid its own random number.

    Args:
        u: float32 array, in cells.
        v: float32 array or scalar that broadcasts with u.
        key: another key is another grid.

    Returns:
        float32 array in [0, 1).
    """
    column = (np.floor(u).astype(np.int32) + 37 * key) & (_CELLS - 1)
    row = (np.floor(v).astype(np.int32) + 101 * key) & (_CELLS - 1)
    return _cell_table()[row, column]


def fractal(u: np.ndarray, v: np.ndarray, period: float, key: int = 0) -> np.ndarray:
    """Gives smooth noise with detail down to 1/128 of its period.

    Args:
        u: float32 array in metres.
        v: float32 array in metres that broadcasts with u.
        period: metres per coarse blob.
        key: another key is another piece of the texture.

    Returns:
        float32 array in [0, 1], mean about 0.5.
    """
    scale = np.float32(_SIDE / 8 / period)
    column = (np.floor(u * scale).astype(np.int32) + 149 * key) & (_SIDE - 1)
    row = (np.floor(v * scale).astype(np.int32) + 83 * key) & (_SIDE - 1)
    return _fractal_table()[row, column]


def fade(depth: np.ndarray, near: float) -> np.ndarray:
    """Weakens fine detail with distance, before it turns into flicker.

    Args:
        depth: float32 array in metres.
        near: metres up to which detail is full.

    Returns:
        float32 array in (0, 1].
    """
    return np.minimum(np.float32(near) / np.maximum(depth, np.float32(0.1)), np.float32(1.0))


def darken(mask: np.ndarray, amount: float | np.ndarray) -> np.ndarray:
    """Turns a mask into a brightness.

    Args:
        mask: bool (h, w).
        amount: scalar or float32 (h, w): how much darker the mask is; negative makes it brighter.

    Returns:
        float32 (h, w): 1 - amount inside the mask, 1 elsewhere.
    """
    inside = np.float32(1.0) - np.asarray(amount, np.float32)
    return np.where(mask, inside, np.float32(1.0))
