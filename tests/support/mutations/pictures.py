"""Small sound pictures and label maps of every kind that users have."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tests.support import data_sets

SIZE = (24, 36)
_ORIENTATION = 0x0112


def encode(picture, kind="PNG", **options) -> bytes:
    """Encodes a Pillow picture."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def encode_images() -> dict:
    """Returns file extension -> images of every common mode, depth and compression."""
    rgb = Image.fromarray(data_sets.make_image(np.random.default_rng(0), SIZE))
    grey = rgb.convert("L")
    wide = np.asarray(grey).astype(np.uint16) * 257
    alpha = rgb.copy()
    alpha.putalpha(grey)
    palette = rgb.quantize(16)
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    return {
        ".png": [
            encode(rgb), encode(grey), encode(alpha), encode(alpha.convert("LA")), encode(palette),
            encode(palette, transparency=3), encode(grey.convert("1")),
            encode(Image.fromarray(wide)), encode(rgb, exif=exif),
            data_sets.encode_uint16(np.asarray(rgb).astype(np.uint16) * 257),
        ],
        ".jpg": [
            encode(rgb, "JPEG"), encode(grey, "JPEG"), encode(rgb.convert("CMYK"), "JPEG"),
            encode(rgb, "JPEG", exif=exif), encode(rgb, "JPEG", progressive=True),
        ],
        ".bmp": [encode(rgb, "BMP"), encode(palette, "BMP")],
        ".webp": [encode(rgb, "WEBP"), encode(alpha, "WEBP", lossless=True)],
        ".tif": [
            encode(rgb, "TIFF"), encode(rgb.convert("CMYK"), "TIFF", compression="tiff_lzw"),
            encode(Image.fromarray(wide), "TIFF"), encode(palette, "TIFF", compression="packbits"),
        ],
    }  # fmt: skip


def encode_labels(ids) -> dict:
    """Returns file extension -> label maps of 8 bits or fewer with some of `ids`."""
    raw = data_sets.make_raw(np.random.default_rng(0), ids, SIZE)
    grey, palette = Image.fromarray(raw), Image.fromarray(raw)
    palette.putpalette([(7 * index + 91) % 256 for index in range(768)])
    return {
        ".png": [encode(grey), encode(palette), encode(Image.fromarray(raw > 0))],
        ".bmp": [encode(palette, "BMP")],
        ".tif": [encode(grey, "TIFF"), encode(palette, "TIFF", compression="tiff_lzw")],
    }


def encode_synthia_label() -> bytes:
    """Returns a 16-bit label map of three channels."""
    raw = data_sets.make_raw(np.random.default_rng(0), data_sets.SYNTHIA_IDS, SIZE).astype(
        np.uint16
    )
    return data_sets.encode_uint16(np.stack([raw, raw * 9, raw * 0], -1))
