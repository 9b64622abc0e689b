"""Encoders of the on-disk layouts of SYNTHIA, GTA5 and Cityscapes."""

from __future__ import annotations

import io
import os

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.labels import label_tables
from data_pipelines.labels.label_spaces import IGNORE_ID
from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.renderer import RenderedScene

LAYOUTS = ("synthia", "gta5", "cityscapes")


def _invert(table):
    """Returns {train id: raw id} of a reader's table, without the ids that it ignores."""
    return {train_id: raw for raw, train_id in table.items() if train_id != IGNORE_ID}


TRAIN_ID_TO_SYNTHIA_ID = {
    **_invert(label_tables.SYNTHIA_ID_TO_CITYSCAPES19),
    canvas_lib.EGO_VEHICLE: 0,
    canvas_lib.STATIC: 0,
    canvas_lib.VOID: 0,
}
"""The renderer's label -> SYNTHIA's raw id; 0 is its void."""

TRAIN_ID_TO_LABEL_ID = {
    **_invert(label_tables.CITYSCAPES_LABEL_ID_TO_CITYSCAPES19),
    canvas_lib.EGO_VEHICLE: 1,
    canvas_lib.STATIC: 4,
    canvas_lib.VOID: 0,
}
"""The renderer's label -> Cityscapes labelId: 0 unlabeled, 1 ego vehicle, 4 static."""

LABEL_ID_PALETTE = (
    (0, 0, 0),
    (0, 0, 0),
    (0, 0, 0),
    (0, 0, 0),
    (0, 0, 0),
    (111, 74, 0),
    (81, 0, 81),
    (128, 64, 128),
    (244, 35, 232),
    (250, 170, 160),
    (230, 150, 140),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (180, 165, 180),
    (150, 100, 100),
    (150, 120, 90),
    (153, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 0, 90),
    (0, 0, 110),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)
"""Cityscapes' colours, by labelId 0..33."""

TRAIN_CITIES: tuple[str, ...] = ("ashbourne", "brackley", "corsham")
VAL_CITIES: tuple[str, ...] = ("dunster", "eskdale")


def default_val_count(layout: str, count: int) -> int:
    """Returns the default number of validation scenes of a layout.

    Args:
        layout: one of `LAYOUTS`.
        count: training scenes.

    Returns:
        For "cityscapes" a fifth of `count`, at least 1; else 0: SYNTHIA and GTA5 have no splits.
    """
    return max(count // 5, 1) if layout == "cityscapes" else 0


def file_names(layout: str, position: int, count: int) -> tuple[str, str]:
    """Returns the file names of one scene.

    Args:
        layout: one of `LAYOUTS`.
        position: the scene's index; from `count` on it is a validation scene.
        count: training scenes.

    Returns:
        (image path, label path), relative to the data set's root.

    Raises:
        UserError: unknown layout.
    """
    if layout == "synthia":
        name = f"{position:07d}.png"
        return os.path.join("RGB", name), os.path.join("GT", "LABELS", name)
    if layout == "gta5":
        name = f"{position + 1:05d}.png"
        return os.path.join("images", name), os.path.join("labels", name)
    if layout == "cityscapes":
        split, number, cities = "train", position, TRAIN_CITIES
        if position >= count:
            split, number, cities = "val", position - count, VAL_CITIES
        city = cities[number % len(cities)]
        stem = f"{city}_{number // len(cities):06d}_000019"
        return (
            os.path.join("leftImg8bit", split, city, f"{stem}_leftImg8bit.png"),
            os.path.join("gtFine", split, city, f"{stem}_gtFine_labelIds.png"),
        )
    raise UserError(f"layout is {layout!r}: it must be one of {', '.join(LAYOUTS)}.")


def encode_image(image: np.ndarray) -> bytes:
    """Encodes uint8 (H, W, 3) as PNG; returns bytes."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=4)
    return stream.getvalue()


def encode_label(scene: RenderedScene, layout: str) -> bytes:
    """Encodes a scene's label in the format and ids of a layout.

    Args:
        scene: the rendered scene.
        layout: one of `LAYOUTS`.

    Returns:
        PNG bytes: for "synthia" 16 bits and three channels, class in the first and instance in the
        second; for "gta5" 8-bit palette; for "cityscapes" 8-bit grey.
    """
    label = np.where(scene.label == canvas_lib.VOID, scene.void_kind, scene.label)
    if layout == "synthia":
        return _encode_synthia(_map_ids(label, TRAIN_ID_TO_SYNTHIA_ID), scene.instance)
    from PIL import Image

    picture = Image.fromarray(_map_ids(label, TRAIN_ID_TO_LABEL_ID))
    if layout == "gta5":
        colours = [channel for colour in LABEL_ID_PALETTE for channel in colour]
        picture.putpalette(colours + [0] * (768 - len(colours)))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _map_ids(label, table):
    """Applies a table of ids that lists every id of the renderer."""
    lookup = np.zeros(256, np.uint8)
    for source, target in table.items():
        lookup[source] = target
    return lookup[label]


def _encode_synthia(ids, instance):
    """Encodes SYNTHIA's 16-bit label. Pillow cannot write 16-bit RGB, TensorFlow can."""
    import tensorflow as tf

    planes = np.stack([ids.astype(np.uint16), instance, np.zeros_like(instance)], axis=-1)
    return tf.io.encode_png(tf.constant(planes, tf.uint16)).numpy()
