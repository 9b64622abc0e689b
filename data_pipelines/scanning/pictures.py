"""Distinguishes photos from masks, and finds out what masks hold."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.io import color_masks
from data_pipelines.io import decoding
from data_pipelines.io import files

MAX_BYTES = decoding.BYTES_PER_PIXEL * decoding.MAX_PIXELS
"""Larger pictures are not read."""

# Masks hold few values, which fill areas.
_MAX_VALUES = 256
_MIN_EQUAL_NEIGHBOURS = 0.6
# Compression changes values by about as much.
_LOSSY_STEP = 24
_LOSSY_BIN = 8
_MAX_LOSSY_VALUES = 32


@dataclasses.dataclass
class Content:
    """What masks hold.

    Attributes:
        kind: "ids", "colors" or "lossy colors".
        pixels: stored id, or (red, green, blue) -> share of the pixels, sorted.
        colors: the same of the colours, those of ids too.
        binary: whether no mask holds two numbers above 0.
        note: what a reader of the result should know, or "".
        count: number of masks.
    """

    kind: str
    pixels: dict
    colors: dict
    binary: bool
    note: str
    count: int


def read_mask(path: str) -> decoding.Mask | None:
    """Decodes a picture as a mask; None where it cannot be."""
    try:
        return decoding.decode_mask(files.read_bytes(path, MAX_BYTES))
    except UserError:
        return None


def looks_like_mask(mask: decoding.Mask) -> bool:
    """Returns whether a picture has the few values and the areas of a mask.

    Args:
        mask: a decoded picture.

    Returns:
        True for a mask; of lossy ones only those of few values far apart are recognised.
    """
    pixels = color_masks.to_rgb(mask)
    values = color_masks.pack(pixels)
    if mask.lossy:
        inner = _find_inner(pixels)
        _, counts = np.unique(color_masks.pack(pixels[inner] // _LOSSY_BIN), return_counts=True)
        covered = np.cumsum(np.sort(counts)[::-1]) / max(1, counts.sum())
        needed = int(np.searchsorted(covered, 0.95)) + 1
        is_grey = mask.pixels.ndim == 2
        limit = _MAX_LOSSY_VALUES // (4 if is_grey else 1)
        return bool(inner.mean() > _MIN_EQUAL_NEIGHBOURS and needed <= limit)
    areas = (values[:, 1:] == values[:, :-1]).mean() > _MIN_EQUAL_NEIGHBOURS
    return bool(areas) and len(np.unique(values)) <= _MAX_VALUES


def summarize(masks: Iterable[decoding.Mask]) -> Content:
    """Finds out what masks hold.

    Args:
        masks: at least one; each is looked at once.

    Returns:
        The content.
    """
    ids: collections.Counter = collections.Counter()
    colors: collections.Counter = collections.Counter()
    palette: dict[int, int] = {}
    flat = grey = red = agree = binary = True
    lossy = False
    count = 0
    for mask in masks:
        count += 1
        rgb = color_masks.to_rgb(mask)
        packed = color_masks.pack(rgb)
        if mask.lossy:
            lossy = True
            packed = packed[_find_inner(rgb)]
        colors.update(_count(packed))
        channel = mask.pixels if mask.pixels.ndim == 2 else mask.pixels[..., 0]
        found = _count(channel)
        ids.update(found)
        binary &= len(found.keys() - {0}) < 2
        if mask.palette is not None:
            for value in found:
                if value < len(mask.palette):
                    color = int(color_masks.pack(mask.palette[value]))
                    agree &= palette.setdefault(value, color) == color
        if mask.pixels.ndim == 3:
            flat = False
            is_grey, is_red = color_masks.find_id_channels(rgb)
            grey &= is_grey
            red &= is_red
    kind, shares, note = "colors", _list_colors(colors), ""
    if lossy:
        kind = "lossy colors"
    elif not agree:
        note = "the palettes of the files differ, so their colours are read, not the ids"
    elif flat or grey or red:
        kind = "ids"
        if not flat:
            note = f"the ids are in {'all channels' if grey else 'the red channel'}"
    return Content(kind, _share(ids) if kind == "ids" else shares, shares, binary, note, count)


def _find_inner(pixels):
    """Returns where the next pixels on the right and below are equal, (H, W) bool."""
    inner = np.ones(pixels.shape[:2], bool)
    values = pixels.astype(np.int16)
    inner[:, :-1] &= (np.abs(np.diff(values, axis=1)) < _LOSSY_STEP).all(-1)
    inner[:-1] &= (np.abs(np.diff(values, axis=0)) < _LOSSY_STEP).all(-1)
    return inner


def _count(array):
    values, counts = np.unique(array, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist()))


def _share(counts):
    total = sum(counts.values())
    return {value: counts[value] / total for value in sorted(counts)}


def _list_colors(counts):
    shares = _share(counts)
    return {tuple(color_masks.unpack(np.array(c)).tolist()): share for c, share in shares.items()}
