"""The reader of folders of one's own."""

from __future__ import annotations

import json
import os

import gin
import numpy as np
import pytest
from PIL import Image

from data_pipelines.domains.folder import WITH_MASKS
from data_pipelines.domains.folder import Folder
from data_pipelines.errors import UserError
from data_pipelines.io.patterns import is_pattern
from data_pipelines.labels import label_spaces
from tests.support import data_sets

NAMES = ["wall", "door", "floor"]


def write_image(root, place, seed=0):
    image = data_sets.make_image(np.random.default_rng(seed))
    return data_sets.write_image(os.path.join(root, place), image)


def write_mask(root, place, ids, writer=data_sets.write_image):
    raw = data_sets.make_raw(np.random.default_rng(1), ids)
    return writer(os.path.join(root, place), raw), raw


def test_split_folders_and_relative_stems(tmp_path):
    for place in ("train/a/1.jpg", "train/a/b/2.png", "train/3.JPG", "val/4.webp", "val/5.v2.tif"):
        write_image(tmp_path, f"images/{place}")
        write_mask(tmp_path, f"masks/{os.path.splitext(place)[0]}.png", (0, 1, 2, 255))
    write_image(tmp_path, "images/train/c/6.bmp")
    write_mask(tmp_path, "masks/train/c/6.bmp", (0, 1, 2), data_sets.write_palette)
    write_image(tmp_path, "images/train/7.jpeg")
    write_mask(tmp_path, "masks/train/7.TIFF", (0, 1, 2))
    domain = Folder(root=str(tmp_path), masks="masks", class_names=NAMES)
    assert domain.name == "folder"
    assert domain.label_space == label_spaces.custom(name="folder", class_names=NAMES)
    train = domain.list_pairs("train")
    assert [pair.name for pair in train] == ["3", "7", "a/1", "a/b/2", "c/6"]
    assert [os.path.relpath(pair.label_path, tmp_path) for pair in train] == [
        "masks/train/3.png", "masks/train/7.TIFF", "masks/train/a/1.png", "masks/train/a/b/2.png",
        "masks/train/c/6.bmp",
    ]  # fmt: skip
    assert [pair.name for pair in domain.list_pairs("val")] == ["4", "5.v2"]
    assert domain.list_orphans("train") == domain.list_orphans("val") == []
    for pair in train + domain.list_pairs("val"):
        assert domain.read_image(pair.image_path).shape == (*data_sets.SIZE, 3)
        assert domain.read_label(pair.label_path).shape == data_sets.SIZE


def test_default_table_is_the_class_ids_and_255(tmp_path):
    path, raw = write_mask(tmp_path, "m.png", (0, 1, 2, 255))
    domain = Folder(root=str(tmp_path), masks=".", class_names=NAMES)
    np.testing.assert_array_equal(domain.read_label(path), raw)
    path, _ = write_mask(tmp_path, "m.png", (0, 3))
    with pytest.raises(UserError, match="does not list: 3"):
        domain.read_label(path)


@pytest.mark.parametrize("writer", [data_sets.write_image, data_sets.write_palette])
def test_binary_masks_by_an_explicit_table(tmp_path, writer):
    path, raw = write_mask(tmp_path, "m.png", (0, 255), writer)
    domain = Folder(
        root=str(tmp_path), masks=".", class_names=["other", "road"], id_table={0: 0, 255: 1}
    )
    label = domain.read_label(path)
    np.testing.assert_array_equal(label, raw == 255)
    path, _ = write_mask(tmp_path, "m.png", (0, 254, 255), writer)
    with pytest.raises(UserError, match="254"):
        domain.read_label(path)


def test_one_bit_masks_hold_0_and_1(tmp_path):
    raw = np.random.default_rng(0).integers(0, 2, (5, 7)).astype(bool)
    Image.fromarray(raw).save(tmp_path / "m.png")
    domain = Folder(root=str(tmp_path), masks=".", class_names=["other", "road"])
    np.testing.assert_array_equal(domain.read_label(str(tmp_path / "m.png")), raw)


def test_ids_lead_to_a_declared_label_space(tmp_path):
    path, raw = write_mask(tmp_path, "m.png", (1, 2, 9))
    space = label_spaces.synthia16()
    domain = Folder(
        root=str(tmp_path), masks=".", label_space=space, id_table={1: 0, 2: 15, 9: 255}
    )
    assert domain.label_space == space
    expected = np.select([raw == 1, raw == 2], [0, 15], 255)
    np.testing.assert_array_equal(domain.read_label(path), expected)


def test_target_without_masks(tmp_path):
    write_image(tmp_path, "images/train/1.jpg")
    domain = Folder(root=str(tmp_path), label_space=label_spaces.camvid11(), name="mine")
    assert domain.name == "mine"
    assert not domain.has_labels("train") and not domain.has_labels("val")
    pair = domain.list_pairs("train")[0]
    assert pair.name == "1" and pair.label_path is None
    assert domain.list_orphans("train") == []


def test_one_split_may_have_no_masks(tmp_path):
    for split in ("train", "val"):
        write_image(tmp_path, f"images/{split}/1.jpg")
    write_mask(tmp_path, "masks/val/1.png", (0,))
    domain = Folder(root=str(tmp_path), masks="masks", class_names=NAMES)
    assert domain.has_labels("val") and not domain.has_labels("train")
    with pytest.raises(UserError, match="no folder .*/nowhere"):
        Folder(root=str(tmp_path), masks="nowhere", class_names=NAMES).has_labels("val")


def test_splits_by_sub_folder(tmp_path):
    for place in ("2019/1", "2020/2"):
        write_image(tmp_path, f"photos/{place}.png")
        write_mask(tmp_path, f"photos_ids/{place}.png", (0,))
    domain = Folder(
        root=str(tmp_path), images="photos", masks="photos_ids", class_names=NAMES,
        splits={"train": "2019", "val": "2020", "all": ""},
    )  # fmt: skip
    names = {split: [p.name for p in domain.list_pairs(split)] for split in ("train", "val", "all")}
    assert names == {"train": ["1"], "val": ["2"], "all": ["2019/1", "2020/2"]}
    assert all(os.path.isfile(pair.label_path) for pair in domain.list_pairs("all"))
    with pytest.raises(UserError, match="'test'.*train, val, all"):
        domain.list_pairs("test")


def test_splits_by_list(tmp_path):
    for name in ("a/1", "a/2", "3"):
        write_image(tmp_path, f"images/{name}.png")
        write_mask(tmp_path, f"masks/{name}.png", (0,))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/train.txt").write_text("a/1.png\n\n  3 \n")
    (tmp_path / "lists/bad.txt").write_text("a/1\na/9\n")
    splits = {"train": "lists/train.txt", "bad": "lists/bad.txt", "none": "lists/none.txt"}
    domain = Folder(root=str(tmp_path), masks="masks", class_names=NAMES, splits=splits)
    assert [pair.name for pair in domain.list_pairs("train")] == ["3", "a/1"]
    assert domain.list_orphans("train") == []
    with pytest.raises(UserError, match=r"bad.txt lists 1 image\(s\).*: a/9\."):
        domain.list_pairs("bad")
    with pytest.raises(UserError, match="none.txt.*is missing"):
        domain.list_pairs("none")


@pytest.mark.parametrize(
    "images, masks, ending",
    [
        ("images", "masks", "png"),
        (".", "masks", "png"),
        ("*/{name}.jpg", "*/{name}_ids.png", "png"),
        ("images", "polygons", "json"),
    ],
)
def test_a_split_of_the_images_with_masks(tmp_path, images, masks, ending):
    """The images without masks are in the other split, which has no labels then."""
    folder = "images" if is_pattern(images) else images
    for name in ("1", "a/2", "3"):
        write_image(tmp_path, f"{folder}/{name}.jpg")
    place = f"{folder}/1_ids.png" if is_pattern(masks) else f"{masks}/1.{ending}"
    if ending == "json":
        (tmp_path / "polygons").mkdir()
        labelme = {"shapes": [], "imagePath": "1.jpg", "imageHeight": 5, "imageWidth": 7}
        (tmp_path / place).write_text(json.dumps(labelme))
    else:
        write_mask(tmp_path, place, (0, 1))
    domain = Folder(
        root=str(tmp_path),
        images=images,
        masks=masks,
        class_names=NAMES,
        splits={"train": "", "val": WITH_MASKS},
    )
    train, val = domain.list_pairs("train"), domain.list_pairs("val")
    assert not domain.has_labels("train") and len(train) == 3
    assert all(pair.label_path is None for pair in train)
    assert domain.has_labels("val") and [os.path.basename(p.image_path) for p in val] == ["1.jpg"]
    assert val[0].label_path == str(tmp_path / place)
    assert domain.list_orphans("train") == domain.list_orphans("val") == []


def test_a_split_of_the_images_with_masks_has_no_sub_folder(tmp_path):
    with pytest.raises(UserError, match="need a sub-folder for each split"):
        Folder(
            root=str(tmp_path),
            masks="{split}/labels.json",
            class_names=NAMES,
            splits={"train": "", "val": WITH_MASKS},
        )


def test_images_without_masks_are_no_split_of_images_with_masks(tmp_path):
    write_image(tmp_path, "images/1.jpg")
    options = {"root": str(tmp_path), "splits": {"val": WITH_MASKS}, "class_names": NAMES}
    write_mask(tmp_path, "masks/2.png", (0, 1))
    with pytest.raises(UserError, match="none of the 1 images below .*, such as 1, has a mask"):
        Folder(masks="masks", **options).list_pairs("val")
    assert not Folder(**options).has_labels("val")
    write_image(tmp_path, "images/2.jpg")
    write_mask(tmp_path, "masks/3.png", (0, 1))
    domain = Folder(masks="masks", **options)
    assert [pair.name for pair in domain.list_pairs("val")] == ["2"]
    assert domain.list_orphans("val") == [str(tmp_path / "masks/3.png")]


def test_mask_suffix_in_a_folder_of_its_own_and_beside_the_images(tmp_path):
    for images, masks in (("images", "masks"), ("both", "both")):
        write_image(tmp_path, f"{images}/train/1.png")
        write_mask(tmp_path, f"{masks}/train/1_mask.png", (0, 1))
        domain = Folder(
            root=str(tmp_path), images=images, masks=masks, mask_suffix="_mask", class_names=NAMES
        )
        pairs = domain.list_pairs("train")
        assert [pair.name for pair in pairs] == ["1"]
        assert pairs[0].label_path == str(tmp_path / masks / "train/1_mask.png")
        assert domain.list_orphans("train") == []


@pytest.mark.parametrize("images", ["images", "images/{split}/*.*"])
def test_images_of_one_name_are_one_error(tmp_path, images):
    """As phones and editors write them, IMG_1.HEIC and IMG_1.JPG."""
    for suffix in ("png", "jpg"):
        for name in range(7):
            write_image(tmp_path, f"images/train/{name}.{suffix}")
    domain = Folder(root=str(tmp_path), images=images, class_names=NAMES)
    words = "0.jpg and .*0.png share the name '0', .*'4', and 2 more pair.s. do; keep one of each"
    with pytest.raises(UserError, match=words):
        domain.list_pairs("train")


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "class_names, or Folder.label_space"),
        ({"label_space": label_spaces.camvid11(), "palette": [(0, 0, 0)]}, "palette"),
        ({"class_names": NAMES, "palette": [(0, 0, 0)]}, "1 colours"),
        ({"class_names": NAMES, "id_table": {0: 3}}, "0: 3.*0 to 2"),
        ({"class_names": NAMES, "id_table": {65536: 0}}, "65536: 0"),
        ({"class_names": NAMES, "id_table": {-1: 0}}, "-1: 0"),
        ({"class_names": NAMES, "id_table": {"a": 3}}, "'a': 3"),
        ({"class_names": NAMES[:1]}, "the class 'wall' alone"),
        ({"class_names": NAMES, "nearest_color": True}, "needs Folder.color_table"),
        ({"class_names": NAMES, "color_table": 3}, "color_table is 3"),
        ({"class_names": NAMES, "color_table": {"wall": (0, 0)}}, "'wall': .0, 0.; a colour is"),
        ({"class_names": NAMES, "color_table": {"wal": (0, 0, 0)}}, "'wal', .*is it 'wall'"),
        ({"class_names": NAMES, "color_table": "no.txt"}, "no.txt is missing"),
        ({"class_names": NAMES, "background": "walls"}, "'walls', .*is it 'wall'"),
        (
            {"class_names": NAMES, "color_table": {"wall": (0, 0, 0)}, "id_table": {0: 0}},
            "bind one of them, .*target/folder.Folder.id_table = None",
        ),
        ({"class_names": NAMES, "id_table": [0, 7, 9]}, "id_table is .*dict.*{0: 0, 7: 1, 9: 2}"),
        ({"class_names": NAMES, "id_table": "{0: 0}"}, "id_table is '{0: 0}'.*a dict"),
        ({"class_names": NAMES, "images": "x", "masks": "x/"}, "mask_suffix"),
        ({"class_names": NAMES, "label_space": label_spaces.camvid11()}, "No table is declared"),
    ],
)
def test_descriptions_that_do_not_fit(options, words):
    with pytest.raises(UserError, match=words):
        Folder(root="nowhere", **options)


def test_names_and_ids_come_from_gin(tmp_path):
    write_image(tmp_path, "images/train/1.png")
    write_mask(tmp_path, "masks/train/1.png", (0, 255))
    gin.parse_config(f"""
        from __gin__ import dynamic_registration
        from data_pipelines.domains import folder
        folder.Folder:
            root = "{tmp_path}"
            masks = "masks"
            class_names = ["background", "road"]
            palette = [(0, 0, 0), (255, 255, 255)]
            id_table = {{0: 0, 255: 1}}
            splits = {{"train": "train"}}
    """)
    domain = gin.get_configurable(Folder)()
    assert domain.label_space.class_names == ("background", "road")
    assert domain.label_space.palette == ((0, 0, 0), (255, 255, 255))
    pair = domain.list_pairs("train")[0]
    assert set(np.unique(domain.read_label(pair.label_path))) == {0, 1}
