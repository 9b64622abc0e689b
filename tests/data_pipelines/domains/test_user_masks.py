"""Masks as labelling tools and simulators write them."""

from __future__ import annotations

import base64
import io
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipelines.auditing import audit
from data_pipelines.domains.folder import Folder
from data_pipelines.errors import UserError
from tests.support import data_sets

NAMES = ["sky", "road", "car"]
COLORS = {"sky": (0, 0, 0), "road": (51, 221, 255), "car": (250, 50, 83)}
RAW = data_sets.make_raw(np.random.default_rng(3), (0, 1, 2))
PICTURE = np.array(list(COLORS.values()), np.uint8)[RAW]


def put(root, place, array, **options):
    path = os.path.join(root, place)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def put_images(root, *places):
    for place in places:
        put(root, place, data_sets.make_image(np.random.default_rng(0)))


def put_json(root, place, content):
    path = os.path.join(root, place)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)
    return path


def make(root, **options):
    return Folder(root=str(root), **{"masks": "masks", "class_names": NAMES, **options})


def read_all(domain, split="train"):
    assert domain.list_orphans(split) == []
    return {pair.name: domain.read_label(pair.label_path) for pair in domain.list_pairs(split)}


def in_red(ids):
    channels = np.zeros((*ids.shape, 4), np.uint8)
    channels[..., 0], channels[..., 3] = ids, 255
    return channels


@pytest.mark.parametrize(
    "write",
    [
        in_red,
        lambda ids: in_red(ids)[..., :3],
        lambda ids: np.dstack([ids] * 3),
        lambda ids: ids.astype(np.uint16),
    ],
    ids=["red with alpha", "red channel", "all channels", "16 bits"],
)
@pytest.mark.parametrize("table, offset", [(None, 0), ({7: 0, 8: 1, 9: 2}, 7)])
def test_ids_in_other_pixels(tmp_path, write, table, offset):
    path = put(tmp_path, "masks/train/1.png", write(RAW + np.uint8(offset)))
    np.testing.assert_array_equal(make(tmp_path, id_table=table).read_label(path), RAW)


def test_ids_of_sixteen_bits(tmp_path):
    path = put(tmp_path, "masks/1.tif", RAW.astype(np.uint16) + np.uint16(26000))
    domain = make(tmp_path, id_table={26000: 0, 26001: 1, 26002: 2})
    np.testing.assert_array_equal(domain.read_label(path), RAW)
    with pytest.raises(UserError, match=r"does not list: 26000 \(\d+ px\), 26001 .*ID_TABLE gives"):
        make(tmp_path).read_label(path)


def write_rgb16(path, pixels):
    """Writes a PNG of 16 bits a channel, which Pillow does not write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(pixels.astype(np.uint16)).numpy())
    return str(path)


def test_sixteen_bits_in_channels(tmp_path):
    in_one = np.zeros((*RAW.shape, 3), np.uint16)
    in_one[..., 0] = RAW
    path = write_rgb16(tmp_path / "masks/1.png", in_one)
    np.testing.assert_array_equal(make(tmp_path).read_label(path), RAW)
    path = write_rgb16(tmp_path / "masks/2.png", PICTURE.astype(np.uint16) * 257)
    np.testing.assert_array_equal(make(tmp_path, color_table=COLORS).read_label(path), RAW)
    path = write_rgb16(tmp_path / "masks/3.png", PICTURE.astype(np.uint16) * 256 + 7)
    with pytest.raises(UserError, match="16 bits that are not those of 8 bits"):
        make(tmp_path, color_table=COLORS).read_label(path)
    path = write_rgb16(tmp_path / "masks/4.png", np.dstack([RAW, RAW]))
    with pytest.raises(UserError, match="grey of 16 bits with alpha"):
        make(tmp_path).read_label(path)


def test_lossy_webp_masks_are_refused(tmp_path):
    path = put(tmp_path, "masks/1.webp", np.dstack([RAW] * 3), lossless=True)
    np.testing.assert_array_equal(make(tmp_path).read_label(path), RAW)
    path = put(tmp_path, "masks/1.webp", np.dstack([RAW] * 3), quality=90)
    with pytest.raises(UserError, match="lossy"):
        make(tmp_path).read_label(path)


def test_ids_in_channels_beside_255(tmp_path):
    ids = np.where(RAW == 0, 255, RAW).astype(np.uint8)
    path = put(tmp_path, "masks/1.png", np.dstack([ids] * 3))
    np.testing.assert_array_equal(make(tmp_path).read_label(path), ids)


def test_black_and_red_or_white_are_ids_only_by_a_table(tmp_path):
    binary = np.where(RAW == 1, 255, 0).astype(np.uint8)
    for channels in (in_red(binary), np.dstack([binary] * 3)):
        path = put(tmp_path, "masks/1.png", channels)
        with pytest.raises(UserError, match=r"2 colours: \(0, 0, 0\) \d+ pixels, \(255, .*COLOR_T"):
            make(tmp_path).read_label(path)
        label = make(tmp_path, id_table={0: 0, 255: 1}).read_label(path)
        np.testing.assert_array_equal(label, RAW == 1)


def test_depth_maps_are_no_masks(tmp_path):
    for values in (np.full((4, 5), 1.5, np.float32), np.full((4, 5), 70000, np.int32)):
        path = put(tmp_path, "masks/1.tif", values)
        with pytest.raises(UserError, match="ids from 0 to 65535 .is it a depth map"):
            make(tmp_path).read_label(path)


def write_labelmap(root):
    lines = [f"{name}:{','.join(map(str, color))}::" for name, color in COLORS.items()]
    path = root / "labelmap.txt"
    path.write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    return str(path)


def test_colors_of_a_table_and_of_a_file(tmp_path, monkeypatch):
    transparent = np.dstack([PICTURE, np.where(RAW == 0, 0, 255).astype(np.uint8)])
    paths = [put(tmp_path, "masks/1.png", PICTURE), put(tmp_path, "masks/2.png", transparent)]
    for table in (COLORS, write_labelmap(tmp_path)):
        for path in paths:
            np.testing.assert_array_equal(make(tmp_path, color_table=table).read_label(path), RAW)
    monkeypatch.setenv("HOME", str(tmp_path))
    label = make(tmp_path, color_table="~/labelmap.txt").read_label(paths[0])
    np.testing.assert_array_equal(label, RAW)
    own_names = make(tmp_path, color_table=COLORS, class_names=None)
    assert own_names.label_space.class_names == tuple(NAMES)
    two_colors = {"road": [COLORS["road"], COLORS["car"]], "ignore": COLORS["sky"]}
    label = make(tmp_path, color_table=two_colors).read_label(paths[0])
    np.testing.assert_array_equal(label, np.where(RAW == 0, 255, 1))


def test_exchanged_channels_are_recognised(tmp_path):
    path = put(tmp_path, "masks/1.png", PICTURE[..., ::-1])
    with pytest.raises(UserError, match="red and blue exchanged"):
        make(tmp_path, color_table=COLORS).read_label(path)


def test_palettes_are_colors_for_a_table(tmp_path):
    """As where each file sorts its palette otherwise."""
    path = put(tmp_path, "masks/1.png", PICTURE)
    Image.open(path).quantize(8).save(path)
    with Image.open(path) as picture:
        assert picture.mode == "P" and (np.asarray(picture) != RAW).any()
    np.testing.assert_array_equal(make(tmp_path, color_table=COLORS).read_label(path), RAW)


def test_stray_colors_are_named_or_snapped(tmp_path):
    picture = PICTURE.copy()
    picture[0, :3] = (40, 210, 250), (9, 9, 9), (9, 9, 9)
    path = put(tmp_path, "masks/1.png", picture)
    words = rf"2 colours .* lacks, in 3 of {RAW.size} .*\(9, 9, 9\) 2 pixels, \(40, 210, 250\) 1"
    with pytest.raises(UserError, match=words) as error:
        make(tmp_path, color_table=COLORS).read_label(path)
    # The fixes that it names, for the more frequent colour.
    assert '"ignore": [(9, 9, 9)]' in str(error.value) and "ignore:9,9,9::" in str(error.value)
    table = write_labelmap(tmp_path)
    with open(table, "a", encoding="utf-8") as file:
        file.write("ignore:9,9,9::\nignore:40,210,250::\n")
    for ignoring in ({**COLORS, "ignore": [(9, 9, 9), (40, 210, 250)]}, table):
        label = make(tmp_path, color_table=ignoring).read_label(path)
        np.testing.assert_array_equal(label[0, :3], 255)
    label = make(tmp_path, color_table=COLORS, nearest_color=True).read_label(path)
    np.testing.assert_array_equal(label[0, :3], [1, 0, 0])
    np.testing.assert_array_equal(label[1:], RAW[1:])


def test_jpeg_masks_are_refused_or_snapped(tmp_path):
    blocks = np.kron(RAW[:4, :4], np.ones((16, 16), np.uint8))
    put(tmp_path, "masks/train/1.jpg", np.array(list(COLORS.values()), np.uint8)[blocks])
    put_images(tmp_path, "images/train/1.png")
    with pytest.raises(UserError, match="1.jpg is a lossy picture, such as a JPEG"):
        read_all(make(tmp_path))
    with pytest.raises(UserError, match="colours that .*JPEG compression or smoothed edges"):
        read_all(make(tmp_path, color_table=COLORS))
    label = read_all(make(tmp_path, color_table=COLORS, nearest_color=True))["1"]
    assert (label == blocks).mean() > 0.9
    inner = np.zeros((16, 16), bool)
    inner[2:-2, 2:-2] = True
    inner = np.tile(inner, (4, 4))
    np.testing.assert_array_equal(label[inner], blocks[inner])


def test_names_of_a_tool_that_are_no_classes(tmp_path):
    table = write_labelmap(tmp_path)
    path = put(tmp_path, "masks/1.png", PICTURE)
    with pytest.raises(UserError, match="'car', which is no class.*ID_TABLE = {'car': 255}"):
        make(tmp_path, color_table=table, class_names=["sky", "road"])
    domain = make(
        tmp_path, color_table=table, class_names=["sky", "road"], id_table={"car": 1, "x": 255}
    )
    np.testing.assert_array_equal(domain.read_label(path), np.minimum(RAW, 1))


def test_tables_of_each_mask(tmp_path):
    """Omniverse Replicator numbers the classes of each frame by themselves."""
    for index, order in enumerate(([0, 1, 2], [2, 0, 1])):
        put_images(tmp_path, f"rgb_{index:04}.png")
        put(tmp_path, f"semantic_segmentation_{index:04}.png", np.array(order, np.uint8)[RAW])
        ids = {str(order[i]): {"class": name} for i, name in enumerate(NAMES)}
        put_json(tmp_path, f"semantic_segmentation_labels_{index:04}.json", ids)
    domain = make(
        tmp_path,
        images="rgb_*.png",
        masks="semantic_segmentation_*.png",
        color_table="semantic_segmentation_labels_*.json",
        splits={"train": ""},
    )
    labels = read_all(domain)
    assert list(labels) == ["0000", "0001"]
    for label in labels.values():
        np.testing.assert_array_equal(label, RAW)
    first = domain.list_pairs("train")[0].label_path
    assert [os.path.basename(path) for path in domain.label_files(first)] == [
        "semantic_segmentation_0000.png", "semantic_segmentation_labels_0000.json",
    ]  # fmt: skip
    os.remove(tmp_path / "semantic_segmentation_labels_0000.json")
    with pytest.raises(UserError, match="semantic_segmentation_labels_0000.json is missing"):
        domain.read_label(first)


@pytest.mark.parametrize(
    "images, masks, places, name",
    [
        ("{name}_RGB.tif", "{name}_label.tif", ("a_RGB.tif", "a_label.tif"), "a"),
        ("*/rgb/*.png", "*/sem/*.png", ("s0/rgb/1.png", "s0/sem/1.png"), "s0/1"),
        ("{name}.jpg", "{name}.png", ("x/1.jpg", "x/1.png"), "x/1"),
        ("RGB/rgb_*.*", "Semantic/seg_*.*", ("RGB/rgb_2.JPG", "Semantic/seg_2.png"), "2"),
        ("*.jpg", "*.png", ("1.JPG", "1.PNG"), "1"),
        ("{split}/img/*.png", "{split}/ids/*.png", ("train/img/1.png", "train/ids/1.png"), "1"),
        ("images", "m/{name}-{any}.png", ("images/train/b.png", "m/b-v2.png"), "b"),
    ],
)
def test_patterns_pair_images_and_masks(tmp_path, images, masks, places, name):
    put_images(tmp_path, places[0])
    path = put(tmp_path, places[1], RAW)
    splits = None if "{split}" in images or images == "images" else {"train": ""}
    domain = make(tmp_path, images=images, masks=masks, splits=splits)
    (pair,) = domain.list_pairs("train")
    assert pair == (name, str(tmp_path / places[0]), path)
    assert domain.list_orphans("train") == []


@pytest.mark.parametrize(
    "images, masks, place",
    [
        ("images", "masks", "masks/{}.png"),
        ("images/*.*", "masks/*_id.*", "masks/{}_id.png"),
        ("images", "masks/{name}/{class}.png", "masks/{}/car.png"),
        ("images", "labels.json", None),
    ],
)
def test_names_with_accents_apart(tmp_path, images, masks, place):
    """Archives of a Mac write a letter and its accent as two characters."""
    composed, apart = "é", "e\u0301"
    put_images(tmp_path, f"images/{apart}.jpg", "images/other.jpg")
    if place is None:
        write_coco(tmp_path, masks, (f"{composed}.jpg",))
    else:
        put(tmp_path, place.format(composed), (RAW == 2).astype(np.uint8))
    (tmp_path / "list.txt").write_text(f"{composed}.jpg\n", encoding="utf-8")
    splits = {"train": "list.txt"}
    domain = make(tmp_path, images=images, masks=masks, background="sky", splits=splits)
    (pair,) = domain.list_pairs("train")
    assert pair.image_path == str(tmp_path / f"images/{apart}.jpg") and pair.name == apart
    assert domain.read_label(pair.label_path).any() and domain.list_orphans("train") == []


def test_patterns_with_missing_masks_orphans_and_twins(tmp_path):
    put_images(tmp_path, "a_RGB.png", "b_RGB.png")
    put(tmp_path, "a_id.png", RAW)
    put(tmp_path, "c_id.png", RAW)
    domain = make(tmp_path, images="*_RGB.png", masks="*_id.png", splits={"train": ""})
    assert [pair.label_path for pair in domain.list_pairs("train")] == [
        str(tmp_path / "a_id.png"), str(tmp_path / "b_id.png"),
    ]  # fmt: skip
    assert domain.list_orphans("train") == [str(tmp_path / "c_id.png")]
    put_images(tmp_path, "x/1.png", "y/1.png")
    with pytest.raises(UserError, match="share the name '1'"):
        make(tmp_path, images="{any}/*.png", splits={"train": ""}).list_pairs("train")


@pytest.mark.parametrize("pattern", ["{nam}.png", "{split}.png", "{any}.png"])
def test_patterns_that_name_nothing(tmp_path, pattern):
    with pytest.raises(UserError, match="Folder.images is '.*(is none of|names each file by)"):
        make(tmp_path, images=pattern, masks=None).list_pairs("train")


def test_a_picture_for_each_class(tmp_path):
    put_images(tmp_path, "images/1.png", "images/2.png")
    overlapping = {"road": RAW > 0, "car": RAW == 2}
    for name, area in overlapping.items():
        put(tmp_path, f"masks/1/{name}.png", area.astype(np.uint8) * 255)
    put(tmp_path, "masks/2/road.png", (RAW == 1).astype(np.uint8))
    options = {"masks": "masks/{name}/{class}.png", "splits": {"train": ""}}
    labels = read_all(make(tmp_path, background="sky", **options))
    np.testing.assert_array_equal(labels["1"], RAW)
    np.testing.assert_array_equal(labels["2"], RAW == 1)
    np.testing.assert_array_equal(
        read_all(make(tmp_path, **options))["1"], np.where(RAW == 0, 255, RAW)
    )
    put(tmp_path, "masks/2/raod.png", RAW)
    with pytest.raises(UserError, match="2/raod.png labels 'raod', .*is it 'road'"):
        make(tmp_path, **options).list_pairs("train")


@pytest.mark.parametrize("palette", [False, True])
def test_transparent_pixels_of_a_class_s_picture_are_not_the_class(tmp_path, palette):
    """As drawing programs write a layer: one colour everywhere, the shape in alpha."""
    put_images(tmp_path, "images/1.png")
    for name, area in {"road": RAW == 1, "car": RAW == 2}.items():
        layer = Image.fromarray(area.astype(np.uint8))
        layer.putpalette([255, 255, 255, 255, 0, 0])
        path = tmp_path / f"masks/1/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        layer.save(path, transparency=0)
        if not palette:
            in_alpha = np.full((*area.shape, 4), 255, np.uint8)
            in_alpha[..., 3] *= area
            Image.fromarray(in_alpha).save(path)
    options = {"masks": "masks/{name}/{class}.png", "splits": {"train": ""}}
    np.testing.assert_array_equal(read_all(make(tmp_path, background="sky", **options))["1"], RAW)


def test_label_studio_names_with_counters(tmp_path):
    """The image of task 7 is named 7.jpg; one class can have several areas."""
    put_images(tmp_path, "images/7.jpg")
    for counter, area in enumerate((RAW == 1, RAW == 2)):
        place = f"masks/task-7-annotation-3-by-1-tag-road-{counter}.png"
        put(tmp_path, place, area.astype(np.uint8) * 255)
    domain = make(
        tmp_path,
        masks="masks/task-{name}-annotation-{any}-by-{any}-tag-{class}-{any}.png",
        background="sky",
        splits={"train": ""},
    )
    np.testing.assert_array_equal(read_all(domain)["7"], RAW > 0)


SQUARE = [[4, 3], [11, 3], [11, 9], [4, 9]]


def labelme(shapes):
    return {"imageHeight": 18, "imageWidth": 26, "shapes": shapes}


def test_shapes_of_labelme(tmp_path):
    put_images(tmp_path, "images/train/1.png")
    area = io.BytesIO()
    Image.fromarray(np.array([[True, False, True]])).save(area, "PNG")
    shapes = [
        {"label": "road", "shape_type": "polygon", "points": SQUARE},
        {"label": "car", "shape_type": "rectangle", "points": [[8.0, 5.0], [6.0, 4.0]]},
        {"label": "__ignore__", "shape_type": "circle", "points": [[20, 10], [22, 10]]},
        {
            "label": "sky", "shape_type": "mask", "points": [[5, 3], [7, 3]],
            "mask": base64.b64encode(area.getvalue()).decode(),
        },
    ]  # fmt: skip
    put_json(tmp_path, "masks/train/1.json", labelme(shapes))
    label = read_all(make(tmp_path, background="car"))["1"]
    expected = np.full((18, 26), 2, np.uint8)
    expected[3:10, 4:12] = 1
    expected[4:6, 6:9] = 2
    expected[3, [5, 7]] = 0
    rows, columns = np.mgrid[:18, :26]
    distance = np.hypot(rows - 10, columns - 20)
    assert (label[distance < 1.9] == 255).all() and (label[distance > 2.9] != 255).all()
    np.testing.assert_array_equal(label[distance > 2.9], expected[distance > 2.9])
    assert (read_all(make(tmp_path))["1"][0] == 255).all()
    named = make(tmp_path, class_names=["background", *NAMES])
    assert (read_all(named)["1"][0] == 0).all()
    # X-AnyLabeling's boxes.
    for kind in ("rectangle", "rotation"):
        shapes[0]["shape_type"] = kind
        put_json(tmp_path, "masks/train/1.json", labelme(shapes))
        np.testing.assert_array_equal(read_all(make(tmp_path, background="car"))["1"], label)
    shapes[:2] = [{"label": "_background_", "points": SQUARE}]
    put_json(tmp_path, "masks/train/1.json", labelme(shapes[:2]))
    capital = make(tmp_path, class_names=["road", "Background"])
    assert np.unique(read_all(capital)["1"]).tolist() == [1, 255]


@pytest.mark.parametrize(
    "content, words",
    [
        (labelme([{"label": "tree", "points": SQUARE}]), "labels 'tree', which is no class"),
        (labelme([{"label": "car", "points": [[1, 2]], "shape_type": "point"}]), "no area .*255}"),
        ({"shapes": []}, "not a file of LabelMe.*imageHeight"),
        ({"imageHeight": 1 << 20, "imageWidth": 1 << 20, "shapes": []}, "max_pixels"),
        ([1, 2], "not a file of LabelMe"),
    ],
)
def test_files_of_labelme_that_cannot_be_read(tmp_path, content, words):
    path = put_json(tmp_path, "masks/train/1.json", content)
    with pytest.raises(UserError, match=f"1.json .*{words}"):
        make(tmp_path).read_label(path)


def test_ignored_annotations_need_no_area(tmp_path):
    put_images(tmp_path, "images/train/1.png")
    shapes = [
        {"label": "road", "points": SQUARE},
        {"label": "corner", "points": [[3, 3]], "shape_type": "point"},
        {"label": "car", "points": [[3, 3], [4, 4]], "shape_type": "line"},
    ]
    put_json(tmp_path, "masks/train/1.json", labelme(shapes))
    write_coco(tmp_path, "labels.json", segmentation=[])
    options = {"background": "sky", "id_table": {"corner": 255, "car": 255}}
    label = read_all(make(tmp_path, **options))["1"]
    assert label[5, 5] == 1 and np.unique(label).tolist() == [0, 1]
    label = read_all(make(tmp_path, masks="labels.json", **options))["1"]
    np.testing.assert_array_equal(label == 255, (RAW == 2) & (label != 1))


def encode_runs(area):
    """COCO's text of the run lengths of an area, written from its definition."""
    flat = np.concatenate([[0], area.T.reshape(-1).astype(np.int64), [2]])
    ends = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], ends])).tolist()
    text = ""
    for index, count in enumerate(counts):
        value = count - (counts[index - 2] if index > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if done else bits | 32))
            if done:
                break
    return counts, text


def write_coco(root, place, names=("train/1.png",), segmentation=None):
    counts, text = encode_runs(RAW == 2)
    size = list(RAW.shape)
    runs = {"counts": text, "size": size} if segmentation is None else segmentation
    annotations = [
        {"image_id": 5, "category_id": 2, "segmentation": {"counts": counts, "size": size}},
        {"image_id": 5, "category_id": 1, "segmentation": [[4, 3, 11, 3, 11, 9, 4, 9]]},
        {"image_id": 5, "category_id": 2, "segmentation": runs},
    ]
    images = [
        {"id": 5 + index, "file_name": name, "height": size[0], "width": size[1]}
        for index, name in enumerate(names)
    ]
    categories = [{"id": 1, "name": "road"}, {"id": 2, "name": "car"}]
    return put_json(
        root, place, {"images": images, "annotations": annotations, "categories": categories}
    )


@pytest.mark.parametrize("name", ["1.png", "images/train/1.png", "elsewhere\\1.png"])
def test_annotations_of_coco(tmp_path, name):
    put_images(tmp_path, "images/train/1.png", "images/train/2.png")
    json_path = write_coco(tmp_path, "labels.json", (name, "3.png"))
    domain = make(tmp_path, masks="labels.json", background="sky")
    first, second = domain.list_pairs("train")
    expected = np.where(RAW == 2, 2, 0)
    expected[3:10, 4:12] = np.where(RAW == 2, 2, 1)[3:10, 4:12]
    np.testing.assert_array_equal(domain.read_label(first.label_path), expected)
    assert domain.label_files(first.label_path) == [json_path]
    with pytest.raises(UserError, match="has no image '2'"):
        domain.read_label(second.label_path)
    assert domain.list_orphans("train") == []


def test_coco_images_of_one_name_in_several_folders(tmp_path):
    places = ("a/1.png", "b/1.png", "val/2.png", "train/2.png")
    put_images(tmp_path, *(f"images/{place}" for place in places))
    write_coco(tmp_path, "labels.json", ("a/1.png", "train/2.png"))

    def list_labelled(**splits):
        domain = make(tmp_path, masks="labels.json", background="sky", splits=splits)
        labelled = []
        for pair in domain.list_pairs("train"):
            try:
                domain.read_label(pair.label_path)
                labelled.append(pair.name)
            except UserError as error:
                assert "has no image" in str(error)
        return labelled

    assert list_labelled(train="") == ["a/1", "train/2"]
    assert list_labelled(train="train") == ["2"]
    # The last part of its path is that of two images.
    write_coco(tmp_path, "labels.json", ("a/1.png", "c/2.png"))
    assert list_labelled(train="") == ["a/1"]


def test_coco_images_that_are_listed_twice_have_all_annotations(tmp_path):
    put_images(tmp_path, "images/1.png")
    path = write_coco(tmp_path, "labels.json", ("1.png", "1.png"))
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    content["annotations"][1]["image_id"] = 6
    put_json(tmp_path, "labels.json", content)
    domain = make(tmp_path, masks="labels.json", background="sky", splits={"train": ""})
    assert np.unique(read_all(domain)["1"]).tolist() == [0, 1, 2]


def test_masks_below_the_folder_of_the_images(tmp_path):
    put_images(tmp_path, "1.png", "day/2.png")
    put(tmp_path, "masks/1.png", RAW)
    put(tmp_path, "masks/day/2.png", RAW)
    domain = make(tmp_path, images=".", splits={"train": ""})
    assert list(read_all(domain)) == ["1", "day/2"]


@pytest.mark.parametrize("masks", ["masks/{name}_lable.png", "anotations.json"])
def test_places_of_masks_that_match_nothing_are_errors(tmp_path, masks):
    put_images(tmp_path, "images/1.png")
    put(tmp_path, "masks/1_label.png", RAW)
    with pytest.raises(UserError, match=f"Folder.masks is '{masks}', and .* correct it"):
        make(tmp_path, masks=masks, splits={"train": ""}).list_pairs("train")


def test_a_pattern_of_masks_for_images_in_folders_of_splits(tmp_path):
    for split, name in (("train", "1"), ("val", "2")):
        put_images(tmp_path, f"{split}/rgb/{name}.png")
        put(tmp_path, f"labels/{name}.png", RAW)
    domain = make(tmp_path, images="{split}/rgb/*.png", masks="labels/*.png")
    assert list(read_all(domain, "train")) == ["1"] and list(read_all(domain, "val")) == ["2"]


def test_lists_beside_patterns(tmp_path):
    put_images(tmp_path, "s0/rgb/1.png", "s1/rgb/1.png")
    (tmp_path / "list.txt").write_text("s1/rgb/1.png s1/semantic/1.png\n")
    options = {"images": "*/rgb/*.png", "masks": None, "splits": {"train": "list.txt"}}
    assert [p.name for p in make(tmp_path, **options).list_pairs("train")] == ["s1/1"]


def test_a_coco_file_for_each_split(tmp_path):
    for split in ("train", "val"):
        put_images(tmp_path, f"images/{split}/1.png")
    write_coco(tmp_path, "annotations/val.json", ("1.png",))
    domain = make(tmp_path, masks="annotations/{split}.json")
    assert domain.has_labels("val") and not domain.has_labels("train")
    assert list(read_all(domain, "val")) == ["1"]


@pytest.mark.parametrize(
    "segmentation, words",
    [
        ({"counts": [3, 4], "size": [18, 26]}, "7 pixels for 18 x 26"),
        ({"counts": [0, 6], "size": [2, 3]}, "2 rows and 3 columns"),
        ([[1, 2, 3, 4]], "less than three points"),
        ({"size": [18, 26]}, "counts"),
        ("", "'car' in train/1.png without a segmentation, a box alone; .*{'car': 255}"),
    ],
)
def test_segmentations_of_coco_that_cannot_be_drawn(tmp_path, segmentation, words):
    put_images(tmp_path, "images/train/1.png")
    write_coco(tmp_path, "labels.json", segmentation=segmentation)
    domain = make(tmp_path, masks="labels.json")
    with pytest.raises(UserError, match=f"labels.json#train/1.png holds .*{words}"):
        domain.read_label(domain.list_pairs("train")[0].label_path)


def test_palettes_that_disagree_are_warned_about(tmp_path, caplog):
    for index, order in enumerate(([0, 1, 2], [0, 2, 1])):
        picture = Image.fromarray(RAW)
        picture.putpalette(np.array(list(COLORS.values()), np.uint8)[order].tobytes())
        picture.save(tmp_path / f"{index}.png")
    domain = make(tmp_path)
    domain.read_label(str(tmp_path / "0.png"))
    assert not caplog.records
    for _ in range(2):
        label = domain.read_label(str(tmp_path / "1.png"))
    np.testing.assert_array_equal(label, RAW)
    (record,) = caplog.records
    words = ("0.png", "1.png", "1 is the colour (51, 221, 255)", "COLOR_TABLE")
    assert all(word in record.getMessage() for word in words)


def test_lists_in_other_spellings(tmp_path):
    put_images(tmp_path, "images/a/1.png", "images/b c/2.png", "images/3.png")
    lines = ["a\\1.png", "images/b c/2.png", f"{tmp_path}/images/3.png"]
    (tmp_path / "list.txt").write_text("\r\n".join(lines), encoding="utf-8-sig")
    (tmp_path / "two.txt").write_text("images/3.png masks/3.png\na/1.png,masks/1.png\n")
    (tmp_path / "none.txt").write_text("\n")
    splits = {"train": "list.txt", "two": "two.txt", "none": "none.txt"}
    domain = make(tmp_path, masks=None, splits=splits)
    assert [pair.name for pair in domain.list_pairs("train")] == ["3", "a/1", "b c/2"]
    assert [pair.name for pair in domain.list_pairs("two")] == ["3", "a/1"]
    with pytest.raises(UserError, match="none.txt, the list .*lists no image"):
        domain.list_pairs("none")


def test_absent_images_say_what_is_there(tmp_path):
    put(tmp_path, "1.gif", RAW)
    for options, words in (
        ({"root": str(tmp_path / "x/mistyped")}, "There is no folder .*/x/mistyped"),
        ({"root": str(tmp_path)}, r"\(or .jpg, .*no image at all, but 1 .*, such as 1.gif"),
    ):
        with pytest.raises(UserError, match=words):
            make(**options, masks=None).list_pairs("train")
    put_images(tmp_path, "1.png")
    with pytest.raises(UserError, match=r'images/train does not exist; .* 1 image.s.: 1.png.*"."'):
        make(tmp_path, masks=None).list_pairs("train")
    flat = make(tmp_path, images=".", masks=None, splits={"train": ""})
    assert [pair.name for pair in flat.list_pairs("train")] == ["1"]


def test_a_legend_of_another_kind_among_masks(tmp_path):
    put_images(tmp_path, "images/1.png", "images/2.png")
    for name in ("1", "2"):
        put_json(tmp_path, f"masks/{name}.json", labelme([{"label": "car", "points": SQUARE}]))
    for name in ("1.png", "legend.png", "overview.png", "1.bmp"):
        put(tmp_path, f"masks/{name}", PICTURE)
    labels = read_all(make(tmp_path, splits={"train": ""}, background="sky"))
    assert [np.unique(label).tolist() for label in labels.values()] == [[0, 2], [0, 2]]


def test_masks_of_another_kind_are_named(tmp_path):
    put_images(tmp_path, "images/train/1.jfif")
    put(tmp_path, "masks/train/1.gif", RAW)
    for splits in (None, {"train": "with masks"}):
        with pytest.raises(UserError, match="holds no mask .*/?1.gif; convert"):
            make(tmp_path, splits=splits).list_pairs("train")


@pytest.mark.parametrize("option", ["images", "masks"])
def test_several_folders_are_written_as_a_pattern(tmp_path, option):
    with pytest.raises(UserError, match=f"{option} is .*'b'.*; bind one folder.*pattern"):
        make(tmp_path, **{option: ["a", "b"]})


def test_audit_of_labels_that_teach_nothing_or_one_class(tmp_path, caplog):
    put_images(tmp_path, "images/train/1.png")
    binary = put(tmp_path, "masks/train/1.png", np.where(RAW == 1, 255, 255).astype(np.uint8))
    stamps = str(tmp_path / "stamps")
    with pytest.raises(UserError, match="contain no class: every pixel is ignored.*ID_TABLE"):
        audit.audit_split(make(tmp_path), "train", stamp_dir=stamps)
    Image.fromarray(np.where(RAW == 1, 255, 1).astype(np.uint8)).save(binary)
    for from_stamp in (False, True):
        caplog.clear()
        report = audit.audit_split(make(tmp_path), "train", stamp_dir=stamps)
        assert report.classes == {1} and report.from_stamp == from_stamp
        assert any("contain the class 'road' alone" in r.getMessage() for r in caplog.records)


def test_audit_names_files_that_are_not_read(tmp_path, caplog):
    put_images(tmp_path, "images/train/1.png", "images/train/a/2.gif", "images/train/3.GIF")
    for name in ("images/train/notes.txt", "images/train/4.npy", "images/.hidden.gif"):
        (tmp_path / name).write_bytes(b"x")
    domain = make(tmp_path, masks=None)
    report = audit.audit_split(domain, "train")
    assert [pair.name for pair in report.pairs] == ["1"]
    (record,) = caplog.records
    assert "not read: 2 x *.gif, 1 x *.npy, such as" in record.getMessage()


def test_audit_of_files_named_otherwise_asks_for_patterns(tmp_path):
    put_images(tmp_path, "images/train/rgb_1.png")
    put(tmp_path, "masks/train/semantic_1.png", RAW)
    with pytest.raises(UserError, match="(?s)semantic_1.png is a label without.*bind these"):
        audit.audit_split(make(tmp_path), "train")


def test_audit_sees_changed_tables_and_coco_files(tmp_path):
    put_images(tmp_path, "images/train/1.png")
    path = write_coco(tmp_path, "labels.json", ("1.png",))
    stamps = str(tmp_path / "stamps")

    def audited_from_stamp(**options):
        domain = make(tmp_path, masks="labels.json", **options)
        return audit.audit_split(domain, "train", stamp_dir=stamps).from_stamp

    assert [audited_from_stamp(), audited_from_stamp()] == [False, True]
    assert not audited_from_stamp(background="sky")
    os.utime(path, ns=(1, 1))
    assert not audited_from_stamp(background="sky")
