"""Samples of pictures that have more than 8 bits a channel, or more channels than a colour has.

The messages and remarks say what is wrong or lost and name no path: the caller adds it.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image

from data_pipelines.errors import UserError
from data_pipelines.io import remarks

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL, _EXTRA_SAMPLES = 258, 262, 277, 338
_SEPARATED = 5
_ALPHA = (1, 2)
_REVERSED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
# A picture that uses less than a quarter of its range is reported.
_DARK = 4


class UnknownLayout(Exception):  # noqa: N818
    """Samples of more than 8 bits that Pillow cannot read."""


def is_tiff(data: bytes) -> bool:
    """Returns whether a file is a TIFF."""
    return data.startswith(_TIFF_SIGNATURES)


def count_bits(picture: Image.Image, data: bytes) -> int:
    """Returns the bits per sample of an opened picture where `read_samples` reads them, else 8.

    Args:
        picture: as opened by Pillow.
        data: the file's content.

    Returns:
        9 to 16 for PNGs and TIFFs of that depth, grey or RGB.
    """
    if picture.format == "PNG":
        # Pillow tells nothing of the low bytes of grey with alpha, the colour type 4.
        bits, read = data[24], data[25] != 4
    elif picture.format == "TIFF":
        bits = max(picture.tag_v2.get(_BITS_PER_SAMPLE, (8,)))  # type: ignore[attr-defined]
        read = picture.mode.startswith(("RGB", "I;16"))
    else:
        return 8
    return bits if read and 8 < bits <= 16 else 8


def read_samples(picture: Image.Image, data: bytes) -> np.ndarray:
    """Reads the samples of a picture of more than 8 bits.

    Pillow reads channels of 16 bits as their high bytes. With the order of bytes reversed, it
    reads the low bytes.

    Args:
        picture: the file as opened by Pillow, not loaded.
        data: the file's content.

    Returns:
        (H, W) or (H, W, 3) uint16.

    Raises:
        UnknownLayout: Pillow cannot read them.
    """
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.uint16)
    with Image.open(io.BytesIO(data), formats=[str(picture.format)]) as second:
        second.tile = [tile._replace(args=_reverse(tile.args)) for tile in second.tile]
        low = np.asarray(second)[..., :3]
    return np.asarray(picture)[..., :3].astype(np.uint16) << 8 | low


def read_bands(data: bytes, check_size: Callable[[tuple[int, int]], None]) -> np.ndarray:
    """Reads a TIFF that Pillow does not read, such as one of many bands, by rasterio.

    Args:
        data: the file's content.
        check_size: called with (width, height) before the bands are read.

    Returns:
        (H, W, 3) of the first three bands, or (H, W, 1), uint8 or uint16.

    Raises:
        UserError: it cannot be read, or rasterio is not installed.
    """
    try:
        import rasterio
    except ImportError:
        raise UserError(
            "is a TIFF that Pillow cannot read; if it has many bands, pip install 'drsl_tf[geo]'"
        ) from None
    try:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.MemoryFile(data) as file, file.open(driver="GTiff") as dataset:
            check_size((dataset.width, dataset.height))
            used = 3 if dataset.count >= 3 else 1
            kinds = set(dataset.dtypes[:used])
            if not kinds <= {"uint8", "uint16"}:
                raise UserError(f"holds {', '.join(kinds)}, not colours of 8 or 16 bits")
            if dataset.count > used:
                _note_count(dataset.count, used)
            return np.moveaxis(dataset.read(list(range(1, used + 1))), 0, -1)
    except rasterio.errors.RasterioError as error:
        # The message begins with a name in memory.
        reason = str(error).split(": ", 1)[-1]
        raise UserError(f"is a TIFF that cannot be read: {reason}") from error


def scale_samples(samples: np.ndarray, bits: int, max_value: int | None) -> np.ndarray:
    """Converts samples to 8 bits.

    Args:
        samples: unsigned integers.
        bits: of the file.
        max_value: the value of more than 8 bits that becomes 255, larger ones too; None is the
            largest of `bits`.

    Returns:
        The same shape, uint8.
    """
    if bits == 8:
        return samples.astype(np.uint8)
    largest = int(samples.max())
    if max_value is None and 0 < largest < 2**bits // _DARK:
        used = largest.bit_length()
        remarks.note(
            f"has {bits} bits a channel, but its largest value is {largest}: it is read as a dark "
            f"picture. If its values have {used} bits, set max_value to {2**used - 1}"
        )
    if max_value is not None and largest > max_value:
        remarks.note(f"has values up to {largest}, cut at max_value, {max_value}")
    if max_value is None:
        return (samples >> (bits - 8)).astype(np.uint8)
    return np.round(np.minimum(samples, max_value) * np.float32(255 / max_value)).astype(np.uint8)


def note_bands(picture: Image.Image) -> None:
    """Remarks on the bands of a TIFF that are neither colour nor alpha.

    Args:
        picture: as opened by Pillow.
    """
    tags = getattr(picture, "tag_v2", {})
    extra = tags.get(_EXTRA_SAMPLES, ())
    if not set(extra) <= set(_ALPHA) and tags.get(_PHOTOMETRIC) != _SEPARATED:
        bands = tags.get(_SAMPLES_PER_PIXEL, 1)
        _note_count(bands, bands - len(extra))


def _note_count(bands, used):
    kind = "first three are read as red, green and blue" if used >= 3 else "first is read as grey"
    remarks.note(f"has {bands} bands: the {kind}, the others are ignored")


def _reverse(args):
    """Returns the arguments of Pillow's decoder for the other order of bytes."""
    mode, *rest = (args,) if isinstance(args, str) else args
    if not mode.endswith((";16L", ";16B", ";16N")):
        raise UnknownLayout(f"16-bit samples in the layout {mode} cannot be read")
    reverse = mode[:-1] + _REVERSED[mode[-1]]
    return reverse if isinstance(args, str) else (reverse, *rest)
