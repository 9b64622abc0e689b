"""Colour masks: pixels of RGB pictures -> class ids."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.io.decoding import Mask

_SHOWN = 8
_LOSSY_COLORS = 16
_PHOTO_COLORS = 1000


class ColorLookup:
    """Maps the colours of a mask to class ids.

    Args:
        ids: (red, green, blue) -> class id, 0 to 255.
        nearest: whether another colour counts as the nearest one of `ids`, by Euclidean distance;
            otherwise it is an error.
    """

    def __init__(self, ids: Mapping[tuple[int, int, int], int], *, nearest: bool = False):
        colors = np.array(list(ids), np.int32).reshape(-1, 3)
        order = np.argsort(pack(colors))
        self._colors = colors[order]
        self._packed = pack(self._colors)
        self._ids = np.array(list(ids.values()), np.uint8)[order]
        self._nearest = nearest

    def find_ids(self, picture: np.ndarray) -> np.ndarray:
        """Maps a mask.

        Args:
            picture: (H, W, 3) uint8.

        Returns:
            (H, W) uint8.

        Raises:
            UserError: it has colours without a class; names them with their pixel counts.
        """
        packed = pack(picture)
        places, known = self._search(packed)
        ids = self._ids[places]
        if not known.all():
            colors, inverse, counts = np.unique(
                packed[~known], return_inverse=True, return_counts=True
            )
            if not self._nearest:
                is_swapped = bool(self._search(pack(unpack(colors)[:, ::-1]))[1].all())
                raise UserError(_describe_stray(colors, counts, packed.size, is_swapped))
            ids[~known] = self._find_nearest(colors)[inverse]
        return ids

    def _search(self, packed):
        """Returns the places of colours among the known ones, and whether they are known."""
        places = np.searchsorted(self._packed, packed).clip(max=len(self._packed) - 1)
        return places, self._packed[places] == packed

    def _find_nearest(self, packed):
        ids = np.empty(packed.shape, np.uint8)
        for start in range(0, len(packed), 4096):
            colors = unpack(packed[start : start + 4096]).astype(np.int32)
            distances = ((colors[:, np.newaxis] - self._colors) ** 2).sum(-1)
            ids[start : start + 4096] = self._ids[distances.argmin(1)]
        return ids


def pack(picture: np.ndarray) -> np.ndarray:
    """Packs colours into integers.

    Args:
        picture: (..., 3) integers from 0 to 255.

    Returns:
        (...) int32, 65536 red + 256 green + blue.
    """
    channels = picture.astype(np.int32)
    return (channels[..., 0] << 16) | (channels[..., 1] << 8) | channels[..., 2]


def unpack(packed: np.ndarray) -> np.ndarray:
    """Inverts `pack`.

    Args:
        packed: (...) int32.

    Returns:
        (..., 3) uint8.
    """
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], -1).astype(np.uint8)


def to_rgb(mask: Mask) -> np.ndarray:
    """Returns the colours of a mask, (H, W, 3) uint8; a grey value v is (v, v, v)."""
    pixels = mask.pixels
    if pixels.ndim == 3:
        return pixels
    if mask.palette is not None:
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(mask.palette)] = mask.palette
        return palette[pixels]
    return np.repeat(np.minimum(pixels, 255).astype(np.uint8)[..., np.newaxis], 3, -1)


def find_id_channels(picture: np.ndarray) -> tuple[bool, bool]:
    """Finds the channels in which a colour picture may hold ids.

    Args:
        picture: (H, W, 3) uint8.

    Returns:
        Whether its channels are equal, and whether all but the red one are 0.
    """
    red, green, blue = np.moveaxis(picture, -1, 0)
    is_grey = bool((red == green).all() and (red == blue).all())
    return is_grey, not (green.any() or blue.any())


def list_colors(picture: np.ndarray) -> str:
    """Lists the colours of a mask for a message.

    Args:
        picture: (H, W, 3) uint8.

    Returns:
        Such as "3 colours: (0, 0, 0) 512 pixels, ...", the most frequent ones first.
    """
    colors, counts = np.unique(pack(picture), return_counts=True)
    return f"{_count(colors)}: {_list(colors, counts)}"


def _count(colors):
    return "1 colour" if len(colors) == 1 else f"{len(colors):,} colours"


def _list(colors, counts):
    order = np.argsort(-counts, kind="stable")[:_SHOWN]
    listed = [f"{tuple(unpack(colors[i]).tolist())} {counts[i]:,} pixels" for i in order]
    return ", ".join(listed) + (", ..." if len(colors) > _SHOWN else "")


def _describe_stray(colors, counts, total, is_swapped):
    lost = int(counts.sum())
    message = (
        f"holds {_count(colors)} that the colour table lacks, in {lost:,} of {total:,} pixels "
        f"({100 * lost / total:.2f} %): {_list(colors, counts)}"
    )
    if is_swapped:
        message += (
            "; the table has them with red and blue exchanged: is the order of the channels, in "
            "the files or in the table, blue, green, red, as OpenCV's is?"
        )
    elif len(colors) > _PHOTO_COLORS:
        message += "; this looks like a photo: are the places of images and masks exchanged?"
    elif len(colors) > _LOSSY_COLORS:
        message += (
            "; so many come from JPEG compression or smoothed edges: export the masks without "
            "them, or bind Folder.nearest_color = True (NEAREST_COLOR in data/own_folders.gin)"
        )
    else:
        most = tuple(unpack(colors[counts.argmax()]).tolist())
        line = ",".join(map(str, most))
        message += (
            f'; add each to the table as a colour of a class or of "ignore": "ignore": [{most}] in '
            f'the dictionary COLOR_TABLE, or the line "ignore:{line}::" in a labelmap.txt'
        )
    return message
