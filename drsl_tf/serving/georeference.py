"""Where a GeoTIFF lies on the ground: read from images and written to label maps by rasterio."""

from __future__ import annotations

import warnings
from typing import Any
from typing import NamedTuple

import numpy as np
from PIL import Image

SUFFIXES = (".tif", ".tiff")
# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory.
_TAGS = (33550, 33922, 34264, 34735)


class Georeference(NamedTuple):
    """The place of an image on the ground.

    Attributes:
        crs: rasterio's coordinate reference system, or None.
        transform: rasterio's affine transformation from pixels to coordinates.
        points: rasterio's ground control points, where there are those instead.
    """

    crs: Any
    transform: Any
    points: Any


def read_georeference(path: str) -> Georeference | None:
    """Reads the georeference of an image.

    Args:
        path: an image that Pillow or rasterio reads.

    Returns:
        The georeference; None for other kinds of images, images without one, and without
        rasterio, where `is_lost` tells whether one is lost.
    """
    if not path.lower().endswith(SUFFIXES):
        return None
    try:
        import rasterio
    except ImportError:
        return None
    try:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        # This driver alone: others read files that a file names.
        with rasterio.open(path, driver="GTiff") as dataset:
            points, crs = dataset.gcps
            found = Georeference(dataset.crs or crs, dataset.transform, points)
    except rasterio.errors.RasterioError:
        return None
    if found.crs is None and found.transform.is_identity and not found.points:
        return None
    return found


def encode_geotiff(picture: np.ndarray, reference: Georeference) -> bytes:
    """Encodes a picture as a GeoTIFF.

    Args:
        picture: (H, W) or (H, W, 3), uint8 or uint16.
        reference: the georeference of its image.

    Returns:
        The file's content.
    """
    import rasterio

    bands = picture[np.newaxis] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
    if reference.points:
        place = {"gcps": reference.points}
    else:
        place = {"transform": reference.transform}
    with rasterio.MemoryFile() as file:
        with file.open(
            driver="GTiff",
            height=picture.shape[0],
            width=picture.shape[1],
            count=len(bands),
            dtype=picture.dtype,
            crs=reference.crs,
            compress="deflate",
            **place,
        ) as dataset:
            dataset.write(bands)
        return file.read()


def is_lost(path: str) -> bool:
    """Returns whether an image is a GeoTIFF, but rasterio is not installed.

    Args:
        path: an image.
    """
    try:
        import rasterio  # noqa: F401
    except ImportError:
        return path.lower().endswith(SUFFIXES) and _has_tags(path)
    return False


def _has_tags(path):
    try:
        with Image.open(path, formats=["TIFF"]) as picture:
            return any(tag in picture.tag_v2 for tag in _TAGS)
    except Exception:
        # What cannot be read is named by whoever decodes it.
        return False
