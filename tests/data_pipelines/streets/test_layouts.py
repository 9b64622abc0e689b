"""The writers: true formats and ids, read back by independent decoders and by the readers."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipelines.domains import cityscapes
from data_pipelines.domains import gta5
from data_pipelines.domains import synthia
from data_pipelines.errors import UserError
from data_pipelines.streets import layouts
from data_pipelines.streets import rendered
from data_pipelines.streets import renderer

SIZE = (48, 96)


def _make_scene():
    """A scene with every label, every kind of void and large instance ids."""
    label = np.arange(22, dtype=np.uint8)[None].repeat(4, 0)
    label[:, 19:] = 255
    kind = np.zeros_like(label)
    kind[:, 19:] = (250, 251, 255)
    instance = np.arange(88, dtype=np.uint16).reshape(4, 22) * 700
    return renderer.RenderedScene(None, label, kind, instance)


def test_synthia_label_has_16_bits_and_class_first():
    scene = _make_scene()
    data = layouts.encode_label(scene, "synthia")
    # Byte 24 of a PNG is its bit depth, byte 25 its colour type (2: RGB).
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[24] == 16 and data[25] == 2
    planes = tf.io.decode_png(data, dtype=tf.uint16).numpy()
    assert planes.shape == (4, 22, 3)
    assert planes[0, :, 0].tolist() == [
        3,
        4,
        2,
        21,
        5,
        7,
        15,
        9,
        6,
        16,
        1,
        10,
        17,
        8,
        18,
        19,
        20,
        12,
        11,
        0,
        0,
        0,
    ]
    assert (planes[..., 1] == scene.instance).all()


def test_gta5_label_is_a_palette_of_label_ids():
    picture = Image.open(io.BytesIO(layouts.encode_label(_make_scene(), "gta5")))
    assert picture.mode == "P"
    ids = np.asarray(picture)
    assert ids[0].tolist() == [
        7,
        8,
        11,
        12,
        13,
        17,
        19,
        20,
        21,
        22,
        23,
        24,
        25,
        26,
        27,
        28,
        31,
        32,
        33,
        1,
        4,
        0,
    ]
    colours = np.asarray(picture.convert("RGB"))
    assert colours[0, 0].tolist() == [128, 64, 128]
    assert colours[0, 13].tolist() == [0, 0, 142]


def test_cityscapes_label_is_grey():
    picture = Image.open(io.BytesIO(layouts.encode_label(_make_scene(), "cityscapes")))
    assert picture.mode == "L"
    assert np.asarray(picture)[0].tolist()[:3] == [7, 8, 11]


@pytest.mark.parametrize(
    "layout, position, image, label",
    [
        ("synthia", 0, "RGB/0000000.png", "GT/LABELS/0000000.png"),
        ("gta5", 0, "images/00001.png", "labels/00001.png"),
        (
            "cityscapes",
            0,
            "leftImg8bit/train/ashbourne/ashbourne_000000_000019_leftImg8bit.png",
            "gtFine/train/ashbourne/ashbourne_000000_000019_gtFine_labelIds.png",
        ),
        (
            "cityscapes",
            5,
            "leftImg8bit/val/dunster/dunster_000000_000019_leftImg8bit.png",
            "gtFine/val/dunster/dunster_000000_000019_gtFine_labelIds.png",
        ),
    ],
)
def test_file_names(layout, position, image, label):
    assert layouts.file_names(layout, position, 5) == (image, label)


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_file_names_are_all_different(layout):
    names = [name for i in range(40) for name in layouts.file_names(layout, i, 30)]
    assert len(set(names)) == 80


def test_unknown_layout_is_named():
    with pytest.raises(UserError, match="synthia, gta5, cityscapes"):
        layouts.file_names("kitti", 0, 1)


@pytest.mark.parametrize(
    "layout, style, domain",
    [
        ("synthia", "game", synthia.Synthia),
        ("gta5", "game", gta5.Gta5),
        ("cityscapes", "camera", cityscapes.Cityscapes),
    ],
)
def test_readers_read_what_was_rendered(tmp_path, layout, style, domain):
    root = rendered.rendered_root(
        root=str(tmp_path / "set"),
        layout=layout,
        style=style,
        count=3,
        size=SIZE,
        seed=6,
        val_count=2,
    )
    if layout == "cityscapes":
        found, splits = domain(root=root), {"train": [0, 1, 2], "val": [3, 4]}
    else:
        found, splits = domain(root=root, val_count=2), {"train": [0, 1, 2], "val": [3, 4]}
    for split, indices in splits.items():
        pairs = found.list_pairs(split)
        assert len(pairs) == len(indices)
        scenes = [renderer.render_scene(6, index, SIZE, style) for index in indices]
        for pair in pairs:
            with open(pair.image_path, "rb") as stream:
                image = found.decode_image(stream.read())
            with open(pair.label_path, "rb") as stream:
                label = found.decode_label(stream.read())
            # Cityscapes lists by city, so the scene is found by its picture.
            assert any((image == scene[0]).all() and (label == scene[1]).all() for scene in scenes)
