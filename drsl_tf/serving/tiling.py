"""Prediction of large images in tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from drsl_tf.networks.layers.image_grid import DEFAULT_MULTIPLE


class Span(NamedTuple):
    """A tile along one axis: it reads [start, stop), and its result on [first, last) is kept."""

    start: int
    stop: int
    first: int
    last: int


def split_axis(length: int, tile: int, overlap: int) -> list[Span]:
    """Splits an axis into overlapping tiles and assigns each pixel to one.

    Tiles start at multiples of `DEFAULT_MULTIPLE`, so that their feature maps lie on the grid of
    the whole image's; the seam between neighbours is the middle of their overlap.

    Args:
        length: pixels of the axis.
        tile: most pixels of a tile.
        overlap: fewest pixels that neighbours share; less than `tile` - `DEFAULT_MULTIPLE`.

    Returns:
        The tiles, in order; only one if the axis fits a tile.
    """
    step = (tile - overlap) // DEFAULT_MULTIPLE * DEFAULT_MULTIPLE
    starts = [0]
    while starts[-1] + tile < length:
        starts.append(starts[-1] + step)
    stops = [min(start + tile, length) for start in starts]
    seams = [(stop + start) // 2 for stop, start in zip(stops, starts[1:])]
    return [Span(*span) for span in zip(starts, stops, [0, *seams], [*seams, length])]


def predict_in_tiles(
    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    image: np.ndarray,
    tile: tuple[int, int],
    overlap: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels one image, with the network's outputs of one tile in memory at a time.

    Args:
        predict: (1, h, w, 3) uint8 -> labels (1, h, w) uint8 and confidences (1, h, w) float32.
        image: (H, W, 3) uint8.
        tile: (height, width) of the largest tile.
        overlap: fewest pixels that neighbours share.

    Returns:
        Labels (H, W) uint8 and confidences (H, W) float32.
    """
    label = np.empty(image.shape[:2], np.uint8)
    confidence = np.empty(image.shape[:2], np.float32)
    for rows in split_axis(image.shape[0], tile[0], overlap):
        for columns in split_axis(image.shape[1], tile[1], overlap):
            part = image[np.newaxis, rows.start : rows.stop, columns.start : columns.stop]
            inner = (
                0,
                slice(rows.first - rows.start, rows.last - rows.start),
                slice(columns.first - columns.start, columns.last - columns.start),
            )
            kept = slice(rows.first, rows.last), slice(columns.first, columns.last)
            tile_label, tile_confidence = predict(part)
            label[kept] = tile_label[inner]
            confidence[kept] = tile_confidence[inner]
    return label, confidence
