"""Decoding of image and label files, with bounded memory and one kind of error.

The messages say what is wrong and name no path: the caller adds it.
"""

from __future__ import annotations

import functools
import io
import struct
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL import ImageOps
from PIL import UnidentifiedImageError
from PIL import features

from data_pipelines.errors import UserError
from data_pipelines.io import raw_samples

MAX_PIXELS = 64_000_000
"""Default of the maximum number of pixels of an image."""

BYTES_PER_PIXEL = 8
"""Bound of the size of a file: 16-bit RGBA without compression."""

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif",
)  # fmt: skip
"""Endings of the files that `decode_rgb` decodes, some only where their codec is installed."""

# Pillow supports many formats, some of which start other programs; readers list these.
_IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
_CODEC_SUFFIXES = {"HEIF": (".heic", ".heif"), "AVIF": (".avif",)}
_CODEC_BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIF": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
}
_LABEL_FORMATS = ("PNG", "BMP", "TIFF")
_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)
"""Orientations that swap height and width."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Factors by which Pillow multiplies grey values of 2 and 4 bits; class ids must stay as stored.
_GREY_FACTORS = {2: 85, 4: 17}


class PictureHeader(NamedTuple):
    """The kind and size of a picture.

    Attributes:
        format: "png", "jpeg", "bmp", "webp", "tiff", "heif" or "avif".
        height: pixels, of the picture upright.
        width: pixels.
        is_lying: whether the file stores it with height and width exchanged (EXIF orientation).
    """

    format: str
    height: int
    width: int
    is_lying: bool = False


class PngHeader(NamedTuple):
    """The start of a PNG.

    Attributes:
        width: pixels.
        height: pixels.
        depth: bits a channel.
        color_type: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
    """

    width: int
    height: int
    depth: int
    color_type: int


class Mask(NamedTuple):
    """A decoded mask, before its numbers or colours are mapped.

    Attributes:
        pixels: (H, W) uint8 or uint16 stored numbers, for a palette picture its indices; or
            (H, W, 3) uint8 RGB.
        palette: (N, 3) uint8 colours of the indices; None where the picture has none.
        lossy: whether its format changes the values.
        visible: (H, W) bool, where alpha is above 0; None where the picture has no alpha.
    """

    pixels: np.ndarray
    palette: np.ndarray | None
    lossy: bool
    visible: np.ndarray | None = None


def read_png_header(data: bytes) -> PngHeader | None:
    """Reads size and pixel format of a PNG from its first chunk.

    Args:
        data: the file's content.

    Returns:
        The header; None where the file is not a PNG.
    """
    if len(data) < 33 or not data.startswith(_PNG_SIGNATURE) or data[12:16] != b"IHDR":
        return None
    return PngHeader(*struct.unpack(">IIBB", data[16:26]))


def read_picture_header(data: bytes, max_pixels: int = MAX_PIXELS) -> PictureHeader:
    """Reads kind and size of a picture that `decode_rgb` decodes.

    Only TIFFs that Pillow does not read are decoded for it.

    Args:
        data: the file's content.
        max_pixels: maximum number of pixels of such a TIFF.

    Returns:
        The header; height and width are those of `decode_rgb`'s array.

    Raises:
        UserError: it is no picture.
    """
    try:
        with _open_picture(data, list_formats()) as picture:
            width, height = picture.size
            is_lying = picture.getexif().get(_ORIENTATION, 1) in _LYING
            if is_lying:
                width, height = height, width
            # Cameras append previews to a JPEG; Pillow calls that MPO.
            kind = "jpeg" if picture.format == "MPO" else str(picture.format).lower()
            return PictureHeader(kind, height, width, is_lying)
    except UnidentifiedImageError as error:
        return PictureHeader("tiff", *_read_bands(data, max_pixels, error).shape[:2])
    except OSError as error:
        raise UserError(_describe_failure("a picture", error)) from error


def describe_missing_codec(path: str) -> str | None:
    """Describes why no image of a file's kind can be read here.

    Args:
        path: a path, whose ending tells the kind.

    Returns:
        The reason; None where a codec is installed, or none is needed.
    """
    for name, suffixes in _CODEC_SUFFIXES.items():
        if path.lower().endswith(suffixes) and name not in list_formats():
            return _describe_codec(name)
    return None


def decode_rgb(
    data: bytes, max_pixels: int = MAX_PIXELS, max_value: int | None = None
) -> np.ndarray:
    """Decodes an image of any common format to RGB.

    What of the picture is lost, because it hardly uses its bits or has bands that are no colours,
    is a remark (`data_pipelines.io.remarks`).

    Args:
        data: content of a PNG, JPEG, BMP, WebP or TIFF, or, where their codecs are installed, of a
            HEIC or AVIF: grey, palette, RGB, CMYK, with or without alpha and further bands (which
            are dropped), up to 16 bits a channel.
        max_pixels: maximum number of pixels, checked before decoding.
        max_value: the value of a PNG or TIFF of more than 8 bits a channel that becomes 255; None
            keeps the high 8 bits.

    Returns:
        (H, W, 3) uint8, rotated upright by its EXIF orientation.

    Raises:
        UserError: it cannot be decoded.
    """
    try:
        with _open_picture(data, list_formats(), max_pixels) as picture:
            orientation = picture.getexif().get(_ORIENTATION, 1)
            picture = _make_rgb(picture, data, max_value)
            if orientation != 1:
                picture.getexif()[_ORIENTATION] = orientation
                picture = ImageOps.exif_transpose(picture)
            return np.array(picture)
    except (UnidentifiedImageError, raw_samples.UnknownLayout) as error:
        samples = _read_bands(data, max_pixels, error)
        bits = 8 * samples.itemsize
        grey_or_rgb = raw_samples.scale_samples(samples, bits, max_value)
        return np.broadcast_to(grey_or_rgb, (*samples.shape[:2], 3)).copy()
    except UserError:
        raise
    except Exception as error:
        raise UserError(_describe_failure("a picture", error)) from error


def decode_mask(data: bytes, max_pixels: int = MAX_PIXELS) -> Mask:
    """Decodes a mask of any common format, as it is stored.

    Args:
        data: content of a PNG, BMP, TIFF, WebP or JPEG: palette, grey of up to 16 bits, or colours.
        max_pixels: maximum number of pixels, checked before decoding.

    Returns:
        The mask.

    Raises:
        UserError: it cannot be decoded, or holds numbers that are no ids.
    """
    try:
        with _open_picture(data, _IMAGE_FORMATS, max_pixels) as picture:
            return _read_mask(picture, data)._replace(visible=_find_visible(picture))
    except UserError:
        raise
    except Exception as error:
        raise UserError(_describe_failure("a mask (PNG, BMP or TIFF)", error)) from error


def decode_ids(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes a label map of one 8-bit id a pixel.

    Args:
        data: content of a palette or grey PNG, BMP or TIFF of up to 8 bits.
        max_pixels: maximum number of pixels, checked before decoding.

    Returns:
        (H, W) uint8: the stored numbers; for a palette image its indices.

    Raises:
        UserError: it cannot be decoded, or contains colours instead of ids.
    """
    try:
        with _open_picture(data, _LABEL_FORMATS, max_pixels) as picture:
            mode = picture.mode
            if mode not in ("1", "L", "P"):
                raise UserError(_describe_mode(mode))
            return _read_mask(picture, data).pixels
    except UserError:
        raise
    except Exception as error:
        raise UserError(_describe_failure("a label map (PNG, BMP or TIFF)", error)) from error


def decode_first_channel16(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes the first channel of a 16-bit colour PNG, which Pillow reads as its high bytes.

    Args:
        data: the file's content.
        max_pixels: maximum number of pixels, checked before decoding.

    Returns:
        (H, W) uint16.

    Raises:
        UserError: it is not a 16-bit PNG of three or four channels, or cannot be decoded.
    """
    import tensorflow as tf

    header = read_png_header(data)
    if header is None:
        raise UserError("is not a PNG")
    check_size(header.width, header.height, max_pixels)
    if header.depth != 16 or header.color_type not in (2, 6):
        kind = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
        raise UserError(
            f"is a PNG of {header.depth} bits, {kind.get(header.color_type, 'unknown kind')}; "
            "expected 16 bits and three channels with the class id in the first (was it written "
            "again by a program that keeps 8 bits, or is it the picture in GT/COLOR?)"
        )
    try:
        with tf.device("/CPU:0"):
            channels = tf.io.decode_png(data, channels=3, dtype=tf.uint16).numpy()
    except tf.errors.OpError as error:
        raise UserError(_describe_failure("a 16-bit PNG", error.message)) from error
    return channels[..., 0]


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Checks the size of an image before it is decoded.

    Args:
        width: pixels.
        height: pixels.
        max_pixels: maximum number of pixels.

    Raises:
        UserError: the image is larger, or empty.
    """
    if width < 1 or height < 1:
        raise UserError(f"says that it has {width} x {height} pixels")
    if width * height > max_pixels:
        raise UserError(
            f"has {width} x {height} pixels, more than the limit of {max_pixels} (max_pixels)"
        )


def _open_picture(data, formats, max_pixels=None):
    """Reads the header alone, and checks the size if there is a maximum."""
    try:
        picture = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise UserError(
            f"is refused: {error} Pillow decodes no larger picture, whatever max_pixels is; cut it "
            "into parts."
        ) from error
    if max_pixels is not None:
        check_size(*picture.size, max_pixels)
    return picture


@functools.cache
def list_formats():
    """Returns the formats of images that can be read here."""
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        found = [*_IMAGE_FORMATS, "HEIF"]
    except ImportError:
        found = [*_IMAGE_FORMATS]
    return (*found, "AVIF") if features.check("avif") else tuple(found)


def _make_rgb(picture, data, max_value):
    bits = raw_samples.count_bits(picture, data)
    raw_samples.note_bands(picture)
    if bits > 8:
        samples = raw_samples.read_samples(picture, data)
        picture = Image.fromarray(raw_samples.scale_samples(samples, bits, max_value))
    if picture.mode in ("I", "F"):
        raise UserError(f"holds 32-bit values (mode {picture.mode}), not colours; save it as RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _read_mask(picture, data):
    lossy = _is_lossy(picture, data)
    mode = picture.mode
    header = read_png_header(data)
    if header is not None and (header.depth, header.color_type) == (16, 4):
        raise UserError("is grey of 16 bits with alpha, which is read by its high bytes alone")
    if mode in ("I", "F") or mode.startswith("I;16"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() >= 1 << 16 or (values != np.floor(values)).any():
            raise UserError(
                f"holds {8 * values.itemsize}-bit values from {values.min():g} to "
                f"{values.max():g}; a mask stores ids from 0 to 65535 (is it a depth map?)"
            )
        return Mask(values.astype(np.uint16), None, lossy)
    if mode in ("1", "L", "LA"):
        pixels = np.array(picture if mode != "LA" else picture.getchannel(0), np.uint8)
        if header is not None and header.color_type == 0 and header.depth in _GREY_FACTORS:
            pixels //= np.uint8(_GREY_FACTORS[header.depth])
        return Mask(pixels, None, lossy)
    if mode == "P":
        palette = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return Mask(np.array(picture, np.uint8), palette, lossy)
    if raw_samples.count_bits(picture, data) > 8:
        return Mask(_halve_depth(raw_samples.read_samples(picture, data)), None, lossy)
    return Mask(np.array(picture if mode == "RGB" else picture.convert("RGB")), None, lossy)


def _find_visible(picture):
    if not picture.has_transparency_data:
        return None
    with_alpha = picture if "A" in picture.getbands() else picture.convert("RGBA")
    return np.asarray(with_alpha.getchannel("A")) > 0


def _is_lossy(picture, data):
    if picture.format == "WEBP":
        return b"VP8L" not in data
    return picture.format in ("JPEG", "MPO") or "jpeg" in str(picture.info.get("compression"))


def _halve_depth(samples):
    """Converts colours of 16 bits that hold ids or colours of 8 bits."""
    if samples.max() < 256:
        return samples.astype(np.uint8)
    high = samples >> 8
    if ((samples == high * 257) | (samples == high << 8)).all():
        return high.astype(np.uint8)
    raise UserError(
        "holds colours of 16 bits that are not those of 8 bits; save the mask in 8 bits"
    )


def _read_bands(data, max_pixels, error):
    """Reads a TIFF that Pillow does not, or says what reads the file."""
    for name, brands in _CODEC_BRANDS.items():
        if data[4:8] == b"ftyp" and data[8:12] in brands and name not in list_formats():
            raise UserError(_describe_codec(name)) from error
    if not raw_samples.is_tiff(data):
        raise UserError(_describe_failure("a picture", error)) from error
    return raw_samples.read_bands(data, lambda size: check_size(*size, max_pixels))


def _describe_codec(name):
    if name == "HEIF":
        return "is a HEIC picture; to read it, pip install 'drsl_tf[heif]', or convert it to JPEG"
    return "is an AVIF picture, which this build of Pillow does not read; convert it to JPEG"


def _describe_mode(mode):
    if mode.startswith("I") or mode == "F":
        return (
            f"holds more than 8 bits a pixel (mode {mode}); a label map stores one 8-bit class id "
            "a pixel (is it an instance or depth map?)"
        )
    return (
        f"is a colour picture (mode {mode}), and colours are not class ids; a label map stores "
        "one 8-bit id a pixel, grey or palette (was a palette file written again as RGB, or is it "
        "a coloured preview?)"
    )


def _describe_failure(kind, error):
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        return f"is not {kind} that can be read"
    return f"cannot be decoded as {kind}: {reason}"
