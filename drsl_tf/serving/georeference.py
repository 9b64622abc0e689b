"""Where a GeoTIFF lies on the ground: read from images and written to label maps by rasterio."""

from __future__ import annotations

import functools
import warnings
from typing import Any
from typing import NamedTuple

import numpy as np
from absl import logging
from PIL import Image

SUFFIXES = (".tif", ".tiff")
# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory.
_TAGS = (33550, 33922, 34264, 34735)
_ORIENTATION = 274


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
        rasterio, where `is_lost` tells whether one is lost. None with a warning for a coordinate
        system that rasterio does not know, and for pixels that are turned upright for prediction.
    """
    if not path.lower().endswith(SUFFIXES):
        return None
    try:
        import rasterio
    except ImportError:
        return None
    _ignore(rasterio.errors.NotGeoreferencedWarning)
    try:
        # This driver alone: others read files that a file names.
        with rasterio.open(path, driver="GTiff") as dataset:
            points, crs = dataset.gcps
            found = Georeference(dataset.crs or crs, dataset.transform, points)
    except rasterio.errors.RasterioError:
        return None
    except ValueError as error:  # Such as rasterio's CRSError.
        logging.warning("%s: its label map is written without georeference: %s.", path, error)
        return None
    if found.crs is None and found.transform.is_identity and not found.points:
        return None
    if _is_turned(path):
        logging.warning(
            "%s: its label map is written without georeference, as it is turned upright by its "
            "orientation tag, which the georeference does not follow.",
            path,
        )
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


@functools.cache
def _ignore(category):
    # Once: the filters are those of all threads.
    warnings.simplefilter("ignore", category)


def _has_tags(path):
    return not _read_tags(path).keys().isdisjoint(_TAGS)


def _is_turned(path):
    # Pillow turns pixels by this tag; what it does not read is not turned.
    return _read_tags(path).get(_ORIENTATION, 1) != 1


def _read_tags(path):
    try:
        with Image.open(path, formats=["TIFF"]) as picture:
            return dict(picture.tag_v2)
    except Exception:
        # What cannot be read is named by whoever decodes it.
        return {}
