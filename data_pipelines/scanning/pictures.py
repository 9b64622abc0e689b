"""Tells photos from masks, and finds out what masks hold."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.io import color_masks
from data_pipelines.io import decoding
from data_pipelines.io import files

_MAX_BYTES = 8 * decoding.MAX_PIXELS
# A mask holds few values, and they fill areas; a drawn picture of few colours is the exception.
_MAX_VALUES = 256
_MAX_VALUE_SHARE = 0.02


@dataclasses.dataclass
class Content:
    """What a sample of masks holds.

    Attributes:
        kind: "ids", "colors" or "lossy colors".
        pixels: stored id, or (red, green, blue) -> share of the pixels.
        note: what a reader of the result should know, or "".
    """

    kind: str
    pixels: dict
    note: str = ""


def read_mask(path: str) -> decoding.Mask | None:
    """Decodes a picture as a mask; None where it cannot be."""
    try:
        return decoding.decode_mask(files.read_bytes(path, _MAX_BYTES))
    except UserError:
        return None


def looks_like_mask(mask: decoding.Mask) -> bool:
    """Returns whether a picture has the few values of a mask.

    Args:
        mask: a decoded picture.

    Returns:
        True for a mask; of JPEG masks only those of very few strong colours are recognised.
    """
    values = color_masks.pack(mask.pixels) if mask.pixels.ndim == 3 else mask.pixels
    if mask.lossy:
        # Compression spreads a value over its neighbours.
        values = np.unique(values >> 5 if values.ndim == 2 else _coarsen(mask.pixels))
        return len(values) <= 24
    distinct = len(np.unique(values))
    return distinct <= min(_MAX_VALUES, max(8, _MAX_VALUE_SHARE * values.size))


def summarize(masks: list[decoding.Mask]) -> Content:
    """Finds out what masks hold.

    Args:
        masks: a sample, at least one.

    Returns:
        The content.
    """
    if any(mask.lossy for mask in masks):
        return _count_colors(masks, "lossy colors")
    palettes_agree, first = True, next((m.palette for m in masks if m.palette is not None), None)
    for mask in masks:
        if mask.palette is not None and first is not None:
            used = [
                int(v) for v in np.unique(mask.pixels) if v < min(len(first), len(mask.palette))
            ]
            palettes_agree &= bool((first[used] == mask.palette[used]).all())
    if not palettes_agree:
        content = _count_colors(masks, "colors")
        content.note = "the palettes of the files differ, so their colours are read, not the ids"
        return content
    if all(mask.pixels.ndim == 2 for mask in masks):
        return Content("ids", _count([mask.pixels for mask in masks]))
    pictures = [color_masks.to_rgb(mask) for mask in masks]
    grey = all((p == p[..., :1]).all() for p in pictures)
    red = all(not p[..., 1:].any() for p in pictures)
    if grey or red:
        content = Content("ids", _count([p[..., 0] for p in pictures]))
        content.note = f"the ids are in {'all channels' if grey else 'the red channel'}"
        return content
    return _count_colors(masks, "colors")


def _coarsen(pixels):
    return color_masks.pack(pixels >> 5)


def _count_colors(masks, kind):
    packed = _count([color_masks.pack(color_masks.to_rgb(mask)) for mask in masks])
    pixels = {
        tuple(color_masks.unpack(np.array(key)).tolist()): share for key, share in packed.items()
    }
    return Content(kind, pixels)


def _count(arrays):
    """Returns value -> share of all pixels, sorted by value."""
    counts: collections.Counter = collections.Counter()
    for array in arrays:
        for value, count in zip(*np.unique(array, return_counts=True)):
            counts[int(value)] += int(count)
    total = sum(counts.values())
    return {value: counts[value] / total for value in sorted(counts)}
