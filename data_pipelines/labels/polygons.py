"""Annotations in JSON: polygons of LabelMe, and polygons and run lengths of COCO."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import json
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL import ImageDraw

from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import IGNORE_ID

_AREAS = ("polygon", "rectangle", "rotation", "circle", "mask")


def parse_json(data: bytes) -> Any:
    """Parses JSON.

    Args:
        data: the file's content.

    Returns:
        Its content.

    Raises:
        UserError: it is no JSON; names no file.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"is not JSON: {error}") from None


def rasterize_labelme(
    data: bytes, find_id: Callable[[str], int], background: int, max_pixels: int
) -> np.ndarray:
    """Draws the shapes of a file of LabelMe, later ones over earlier ones.

    Args:
        data: the file's content.
        find_id: name of a label -> its id; raises `UserError` for unknown names.
        background: id of the pixels outside of all shapes.
        max_pixels: maximum number of pixels.

    Returns:
        (H, W) uint8.

    Raises:
        UserError: it is no such file, or a shape that is not ignored has no area; names no file.
    """
    content = parse_json(data)
    with _expect(
        "is not a file of LabelMe, with imageHeight, imageWidth and shapes that have label, "
        "shape_type and points"
    ):
        shape = content["imageHeight"], content["imageWidth"]
        canvas = _make_canvas(shape, background, max_pixels)
        for entry in content["shapes"]:
            _draw_shape(canvas, entry, find_id(entry["label"]))
    return np.array(canvas)


@contextlib.contextmanager
def _expect(message):
    """Raises `UserError` in place of the errors of content of another structure."""
    try:
        yield
    except UserError:
        raise
    # Base64 and numbers raise subclasses of ValueError; Pillow, of a damaged mask, OSError.
    except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        raise UserError(f"{message}: {type(error).__name__} {error}") from error


def _draw_shape(canvas, entry, value):
    kind = entry.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in entry["points"]]
    draw = ImageDraw.Draw(canvas)
    # X-AnyLabeling, which writes LabelMe's files, lists a box's corners, turned or not.
    if kind in ("polygon", "rectangle", "rotation") and len(points) > 2:
        draw.polygon(points, fill=value)
    elif kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        draw.rectangle(
            (min(left, right), min(top, bottom), max(left, right), max(top, bottom)), fill=value
        )
    elif kind == "circle" and len(points) == 2:
        (x, y), (edge_x, edge_y) = points
        radius = float(np.hypot(edge_x - x, edge_y - y))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)
    elif kind == "mask":
        with Image.open(io.BytesIO(base64.b64decode(entry["mask"])), formats=("PNG",)) as mask:
            area = mask.convert("L").point(lambda v: 255 if v else 0)
        canvas.paste(value, tuple(int(v) for v in points[0]), area)
    elif value != IGNORE_ID:
        name = entry["label"]
        raise UserError(
            f"holds a {kind} with {len(points)} point(s), label {name!r}, which covers no area "
            f"({', '.join(_AREAS)} do); {_describe_fix(name)}"
        )


def _describe_fix(name):
    return f"remove it, or ignore the label, ID_TABLE = {{{name!r}: {IGNORE_ID}}}"


@dataclasses.dataclass(frozen=True)
class _CocoImage:
    shape: tuple[int, int]
    annotations: list[tuple[str, Any]]


class CocoFile:
    """The annotations of a COCO JSON file.

    Args:
        data: the file's content.

    Raises:
        UserError: it is no such file; names no file.
    """

    def __init__(self, data: bytes):
        content = parse_json(data)
        with _expect(
            "is not a file of COCO, with images, categories and annotations that refer to them by "
            "id"
        ):
            names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
            images = {
                entry["id"]: _CocoImage((entry["height"], entry["width"]), [])
                for entry in content["images"]
            }
            for entry in content["annotations"]:
                found = images[entry["image_id"]].annotations
                found.append((names[entry["category_id"]], entry.get("segmentation")))
            paths: dict[str, _CocoImage] = {}
            for entry in content["images"]:
                image = images[entry["id"]]
                # A file that was joined from several ones can name an image twice.
                first = paths.setdefault(str(entry["file_name"]).replace("\\", "/"), image)
                if first is not image:
                    first.annotations.extend(image.annotations)
        self._images = paths

    @property
    def paths(self) -> Collection[str]:
        """The paths of its images, as they are in the file."""
        return self._images.keys()

    def rasterize(
        self, path: str, find_id: Callable[[str], int], background: int, max_pixels: int
    ) -> np.ndarray:
        """Draws the annotations of an image, later ones over earlier ones.

        Args:
            path: of the image, as it is in the file.
            find_id: name of a category -> its id; raises `UserError` for unknown names.
            background: id of the pixels outside of all annotations.
            max_pixels: maximum number of pixels.

        Returns:
            (H, W) uint8.

        Raises:
            UserError: an annotation cannot be drawn; names no file.
        """
        if path not in self._images:
            raise UserError(f"has no image {path!r}")
        image = self._images[path]
        canvas = _make_canvas(image.shape, background, max_pixels)
        for name, segmentation in image.annotations:
            value = find_id(name)
            if not segmentation:
                if value == IGNORE_ID:
                    continue
                raise UserError(
                    f"holds a {name!r} in {path} without a segmentation, a box alone; export "
                    f"polygons or masks, {_describe_fix(name)}"
                )
            with _expect(
                f"holds a segmentation of {name!r} for {path} that is neither polygons nor run "
                "lengths of its size"
            ):
                canvas = _draw_segmentation(canvas, segmentation, value)
        return np.array(canvas)


def _draw_segmentation(canvas, segmentation, value):
    if isinstance(segmentation, Mapping):
        inside = decode_run_lengths(segmentation["counts"], segmentation["size"])
        pixels = np.array(canvas)
        if inside.shape != pixels.shape:
            raise ValueError(f"{inside.shape[0]} rows and {inside.shape[1]} columns")
        pixels[inside] = value
        return Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    for polygon in segmentation:
        if len(polygon) < 6:
            raise ValueError("a polygon of less than three points")
        draw.polygon([float(v) for v in polygon], fill=value)
    return canvas


def decode_run_lengths(counts: str | Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Decodes COCO's run lengths: pixels outside and inside in turn, column by column.

    Args:
        counts: the lengths, or COCO's text of them. The text has 5 bits and a continuation bit in
            each character, the least significant first; from the fourth on a length is stored as
            the difference to the one before the last.
        size: (height, width) in pixels.

    Returns:
        (height, width) bool.

    Raises:
        ValueError: the lengths do not add up to the size.
    """
    lengths = _decode_text(counts) if isinstance(counts, str) else [int(v) for v in counts]
    height, width = (int(v) for v in size)
    if any(length < 0 for length in lengths) or sum(lengths) != height * width:
        raise ValueError(f"run lengths of {sum(lengths)} pixels for {height} x {width}")
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return inside.reshape(width, height).T


def _decode_text(text):
    lengths: list[int] = []
    value = shift = 0
    for code in text.encode("ascii"):
        bits = code - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return lengths


def _make_canvas(shape, background, max_pixels):
    height, width = (int(v) for v in shape)
    if height < 1 or width < 1 or height * width > max_pixels:
        raise UserError(
            f"says that its image has {width} x {height} pixels; the limit is {max_pixels} "
            "(max_pixels)"
        )
    return Image.new("L", (width, height), background)
