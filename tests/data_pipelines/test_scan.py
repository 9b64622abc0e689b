"""The configuration that a look at folders writes."""

from __future__ import annotations

import logging
import os

import gin
import numpy as np
import pytest

from data_pipelines.auditing import audit
from data_pipelines.domains.folder import WITH_MASKS
from data_pipelines.domains.folder import Folder
from data_pipelines.errors import UserError
from data_pipelines.scanning import configuration
from data_pipelines.scanning import layout
from tests.support import calls
from tests.support import tool_exports


def build(draft, prefix="SOURCE"):
    """Creates the reader that the bindings describe, as data/own_folders.gin does."""
    bindings = draft.bindings
    return Folder(
        root=bindings[prefix],
        images=bindings.get(f"{prefix}_IMAGES", "images"),
        masks=bindings.get(f"{prefix}_MASKS", "masks" if prefix == "SOURCE" else None),
        splits=bindings.get(
            f"{prefix}_SPLITS",
            {"train": ""} if prefix == "SOURCE" else {"train": "", "val": WITH_MASKS},
        ),
        mask_suffix=bindings.get(f"{prefix}_MASK_SUFFIX", ""),
        class_names=bindings["CLASS_NAMES"],
        id_table=bindings.get("ID_TABLE"),
        color_table=bindings.get("COLOR_TABLE"),
        nearest_color=bindings.get("NEAREST_COLOR", False),
        background=bindings.get("BACKGROUND"),
    )


@pytest.mark.parametrize(
    "write, count, classes, named",
    [
        (tool_exports.write_plain, 4, 3, False),
        (tool_exports.write_binary, 4, 2, True),
        (tool_exports.write_binary_jpeg, 4, 2, False),
        (tool_exports.write_carla, 4, 3, False),
        (tool_exports.write_unity, 4, 3, True),
        (tool_exports.write_scenes, 8, 3, False),
        (tool_exports.write_tiles, 4, 3, False),
        (tool_exports.write_mask_suffix, 4, 3, True),
        (tool_exports.write_cvat, 4, 3, True),
        (tool_exports.write_splits, 3, 3, False),
        (tool_exports.write_split_folders, 4, 3, False),
        (tool_exports.write_replicator, 4, 3, True),
        (tool_exports.write_labelme, 4, 3, True),
        (tool_exports.write_coco, 4, 3, True),
        (tool_exports.write_coco_splits, 2, 3, True),
        (tool_exports.write_coco_2017, 2, 3, True),
        (tool_exports.write_masks_below_images, 4, 3, False),
        (tool_exports.write_channels_with_255, 4, 2, False),
        (tool_exports.write_palettes, 2, 3, False),
        (tool_exports.write_layers, 3, 3, True),
        (tool_exports.write_layers_in_folders, 3, 3, True),
        (tool_exports.write_layers_by_ending, 3, 3, True),
        (tool_exports.write_layers_beside_images, 3, 3, True),
        (tool_exports.write_solo, 4, 3, True),
        (tool_exports.write_supervisely, 4, 3, False),
        (tool_exports.write_renders, 4, 3, False),
        (tool_exports.write_cities, 4, 3, False),
    ],
)
def test_layouts_lead_to_a_configuration_that_reads_them(tmp_path, write, count, classes, named):
    root = str(tmp_path / "data")
    write(root)
    draft = configuration.draft_configuration(root, None)
    domain = build(draft)
    report = audit.audit_split(domain, "train")
    assert len(report.pairs) == count and not report.skipped
    assert len(report.classes) == classes
    # Where a picture is drawn for each class, the background may be covered.
    assert domain.label_space.class_names[:-classes] in ((), ("background",))
    unnamed = any(name.startswith("class_") for name in domain.label_space.class_names)
    assert unnamed != named
    # Areas are those that were drawn, up to the order of the classes.
    label = domain.read_label(report.pairs[0].label_path)
    areas = sorted(np.bincount(tool_exports.draw(0)[1].reshape(-1)).tolist())
    if classes == 3:
        found = sorted(np.bincount(label.reshape(-1), minlength=3).tolist())[-3:]
        np.testing.assert_allclose(found, areas, atol=3)


def test_two_folders_to_a_gin_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tool_exports.write_cvat("a drawn")
    for number in range(3):
        tool_exports.put("real", f"{number}.jpg", tool_exports.draw(50 + number)[0])
    tool_exports.put_text("real", "notes.docx", "x")
    tool_exports.put("real", "9.heif2", tool_exports.draw(1)[0], format="PNG")
    draft = configuration.draft_configuration("a drawn", "real")
    text = draft.write("python -m data_pipelines.scan 'a drawn' real")
    assert 'include "folder.gin"' in text and "# TO DO: CLASS_NAMES" in text
    assert "real: not used: 1 x file *.docx, such as notes.docx." in text and "*.heif2" in text
    other = "4 x other picture of few colours *.png, such as SegmentationObject/0.png."
    assert f"a drawn: not used: {other}" in text
    gin.parse_config(text.replace('include "folder.gin"', ""))
    for name, value in draft.bindings.items():
        assert gin.query_parameter(f"%{name}") == value
    target = build(draft, "TARGET")
    assert not target.has_labels("train") and len(target.list_pairs("train")) == 3
    assert draft.bindings["SIZE"] == draft.bindings["CROP"] == (48, 64)


def test_folders_that_cannot_be_described(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        configuration.draft_configuration(str(tmp_path / "no"), None)
    tool_exports.put_text(tmp_path, "x.pdf", "x")
    with pytest.raises(UserError, match=r"holds no photo among its 1 file.s. \(.pdf\)"):
        configuration.draft_configuration(str(tmp_path), None)
    tool_exports.put(tmp_path, "images/1.jpg", tool_exports.draw(0)[0])
    with pytest.raises(UserError, match="1 image.s. and no mask that fits"):
        configuration.draft_configuration(str(tmp_path), None)


def test_a_folder_of_several_exports_is_refused(tmp_path):
    tool_exports.write_cvat(tmp_path / "cvat")
    tool_exports.write_carla(tmp_path / "carla")
    with pytest.raises(UserError, match="8 image.s. and no mask .* of several in it, name one"):
        configuration.draft_configuration(str(tmp_path), None)


def test_target_with_masks_to_score_on(tmp_path):
    tool_exports.write_splits(tmp_path / "drawn")
    for split in ("train", "val"):
        tool_exports.write_pairs(
            tmp_path / "real", f"images/{split}/{{}}.jpg", f"m/{split}/{{}}.png"
        )
    draft = configuration.draft_configuration(str(tmp_path / "drawn"), str(tmp_path / "real"))
    target = build(draft, "TARGET")
    assert target.splits == ("train", "val") and target.has_labels("val")
    assert draft.bindings["SOURCE_SPLITS"] == {"train": "train", "val": "val"}


def test_the_command_writes_once_and_says_what_is_left_to_do(tmp_path):
    tool_exports.write_plain(tmp_path / "drawn")
    command = ("-m", "data_pipelines.scan", "drawn", "--output=here.gin")
    said = calls.read_output(*command, cwd=tmp_path)
    assert "TO DO: TARGET is the folder" in said and "TO DO: The files do not say" in said
    assert "Next: python -m drsl_tf.inspect here.gin" in said
    written = (tmp_path / "here.gin").read_bytes()
    calls.assert_refused(calls.call_python(*command, cwd=tmp_path), "here.gin exists")
    assert (tmp_path / "here.gin").read_bytes() == written
    nothing = calls.call_python("-m", "data_pipelines.scan", cwd=tmp_path)
    calls.assert_refused(nothing, "Name one or two folders")


def test_what_is_left_out_is_named(tmp_path):
    tool_exports.write_splits(tmp_path)
    tool_exports.put(tmp_path, "images/extra/1.jpg", tool_exports.draw(9)[0])
    os.symlink(tmp_path / "nowhere.json", tmp_path / "broken.json")
    text = configuration.draft_configuration(str(tmp_path), None).write("")
    assert "not used: 1 x image in extra, which is no split here, such as images/extra/1" in text
    assert "1 x file *.json, such as broken.json" in text
    with pytest.raises(UserError, match="local folders only"):
        configuration.draft_configuration("gs://bucket/data", None)


def test_damaged_masks_are_named(tmp_path):
    tool_exports.write_plain(tmp_path / "plain")
    (tmp_path / "plain/masks/2.png").write_bytes(b"no picture")
    text = configuration.draft_configuration(str(tmp_path / "plain"), None).write("")
    assert "TO DO: 1 mask(s) cannot be decoded, such as" in text and "masks/2.png." in text
    tool_exports.write_labelme(tmp_path / "labelme")
    (tmp_path / "labelme/2.json").write_text("{")
    draft = configuration.draft_configuration(str(tmp_path / "labelme"), None)
    assert draft.bindings["SOURCE_MASKS"] == "*.json"
    assert draft.bindings["BACKGROUND"] == "background"


def test_grey_photos_are_photos(tmp_path):
    for number in range(3):
        shade = np.linspace(0, 100, tool_exports.SIZE[1])
        grey = (tool_exports.draw(number)[0].mean(-1) / 2 + shade).astype(np.uint8)
        tool_exports.put(tmp_path, f"unlabelled/{number}.png", grey)
        tool_exports.put(tmp_path, f"gta/{number}.jpg", grey)
    found = layout.find_layout(str(tmp_path))
    assert len(found.image_paths) == 6 and found.masks is None


def test_colours_of_jpeg_masks_that_were_not_chosen_are_mentioned(tmp_path):
    cityscapes = np.array([(128, 64, 128), (70, 70, 70), (70, 130, 180)], np.uint8)
    tool_exports.write_pairs(tmp_path, "images/{}.png", "masks/{}.jpg", cityscapes.__getitem__)
    draft = configuration.draft_configuration(str(tmp_path), None)
    assert len(draft.bindings["CLASS_NAMES"]) == 3 and draft.bindings["NEAREST_COLOR"]
    assert any("those of rare classes, which you have to add" in q for q in draft.questions)


def test_colours_that_a_table_lacks_are_ignored(tmp_path):
    colors = np.array([(0, 0, 0), (51, 221, 255), (250, 50, 83), (224, 224, 192)], np.uint8)

    def color(ids):
        ids[24, ids[24] == 2] = 3
        return colors[ids]

    tool_exports.write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", color)
    tool_exports.put_text(tmp_path, "labelmap.txt", "ground:51,221,255::\ncar:250,50,83::\n")
    draft = configuration.draft_configuration(str(tmp_path), None)
    lacked = [(0, 0, 0), (224, 224, 192)]
    table = {"ground": (51, 221, 255), "car": (250, 50, 83), "ignore": lacked}
    assert draft.bindings["COLOR_TABLE"] == table
    named = "labelmap.txt lacks colors that the masks hold: (0, 0, 0) "
    assert any(named in question for question in draft.questions)
    assert audit.audit_split(build(draft), "train").classes == {0, 1}


def test_ids_that_a_table_lacks_are_ignored(tmp_path):
    tool_exports.write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png")
    table = "Pixel Value, Class\n2, car\n1, ground\n3, ignore\n"
    tool_exports.put_text(tmp_path, "_classes.csv", table)
    draft = configuration.draft_configuration(str(tmp_path), None)
    assert (
        draft.bindings["CLASS_NAMES"] == ["ground", "car"] and "COLOR_TABLE" not in draft.bindings
    )
    assert draft.bindings["ID_TABLE"] == {1: 0, 2: 1, 3: 255, 0: 255}


def test_smooth_edges_of_colours_count_as_the_nearest_one_of_the_table(tmp_path):
    tool_exports.write_cvat(tmp_path)
    for number in range(4):
        mask = tool_exports.COLORS[tool_exports.draw(number)[1]]
        mask[:24, 0] = np.arange(24)[:, np.newaxis]
        tool_exports.put(tmp_path, f"SegmentationClass/{number}.png", mask)
    draft = configuration.draft_configuration(str(tmp_path), None)
    assert (
        draft.bindings["COLOR_TABLE"].endswith("labelmap.txt") and draft.bindings["NEAREST_COLOR"]
    )
    assert len(audit.audit_split(build(draft), "train").pairs) == 4


def test_files_that_are_no_tables_of_the_masks(tmp_path):
    tool_exports.write_supervisely(tmp_path)
    tool_exports.put_text(tmp_path, "frames.json", {"frames": {"0": "0.png", "1": "1.png"}})
    odd = {"images": [], "annotations": [], "categories": {"a": 1}}
    tool_exports.put_text(tmp_path, "odd.json", odd)
    text = configuration.draft_configuration(str(tmp_path), None).write("")
    assert "TO DO: Masks hold other values than the tables that were found, which are" in text
    assert (
        "not used: meta.json (ground, car)." in text
        and "2 x file *.json, such as frames.json" in text
    )


@pytest.mark.parametrize(
    "write, used, others",
    [
        (tool_exports.write_cities, "_gtFine_labelIds.png", ["_gtFine_color.png"]),
        (tool_exports.write_renders, "semantic_seg", ["instance_seg/0.png", "depth/0.png"]),
        (tool_exports.write_replicator, "semantic_seg", ["instance_segmentation_0000.png"]),
    ],
)
def test_masks_of_classes_are_preferred_and_others_named(tmp_path, write, used, others):
    write(tmp_path)
    draft = configuration.draft_configuration(str(tmp_path), None)
    assert used in draft.bindings["SOURCE_MASKS"]
    (question,) = (q for q in draft.questions if q.startswith("Other masks"))
    assert all(other in question for other in others)


def test_masks_of_one_class_in_several_kinds_of_files(tmp_path):
    for number in range(4):
        photo, ids = tool_exports.draw(number)
        tool_exports.put(tmp_path, f"images/{number}.jpg", photo)
        mask = ids == 2 if number % 2 else (ids == 2).astype(np.uint8) * 255
        tool_exports.put(tmp_path, f"masks/{number}.png", mask)
    draft = configuration.draft_configuration(str(tmp_path), None)
    assert draft.bindings["ID_TABLE"] == {0: 0, 1: 1, 255: 1}
    assert audit.audit_split(build(draft), "train").classes == {0, 1}


def test_smooth_edges_of_one_class_are_no_classes(tmp_path):
    def smooth(ids):
        mask = (ids == 2).astype(np.uint8) * 255
        mask[0] = np.arange(0, 256, 4)
        return mask

    tool_exports.write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", smooth)
    draft = configuration.draft_configuration(str(tmp_path), None)
    assert draft.bindings["CLASS_NAMES"] == ["background", "object"]
    assert audit.audit_split(build(draft), "train").classes == {0, 1}


def test_255_that_covers_much_is_asked_about(tmp_path):
    levels = np.array([0, 127, 255], np.uint8)
    tool_exports.write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", levels.__getitem__)
    draft = configuration.draft_configuration(str(tmp_path), None)
    assert "255 (8.33 %) is ignored; give it a class if it is one." in draft.questions


def test_the_size_has_the_most_frequent_shape(tmp_path):
    tool_exports.write_plain(tmp_path / "drawn")
    for number in range(5):
        photo = np.zeros((300, 400, 3) if number % 2 else (400, 300, 3), np.uint8)
        tool_exports.put(tmp_path, f"real/{number}.jpg", photo)
    draft = configuration.draft_configuration(str(tmp_path / "drawn"), str(tmp_path / "real"))
    assert draft.bindings["SIZE"] == (400, 304)
    shapes = [q.split(" have another aspect ratio than SIZE")[0] for q in draft.questions]
    assert f"4 of 4 images of {tmp_path / 'drawn'} that were looked at" in shapes
    assert f"2 of 5 images of {tmp_path / 'real'} that were looked at" in shapes


def test_case_of_endings_and_links_to_folders(tmp_path):
    tool_exports.write_pairs(tmp_path / "far", "{}.jpg", "{}.png", numbers=range(2))
    tool_exports.write_pairs(tmp_path / "far", "{}.JPG", "{}.png", numbers=range(2, 4))
    (tmp_path / "here").mkdir()
    os.symlink(tmp_path / "far", tmp_path / "here/linked")
    draft = configuration.draft_configuration(str(tmp_path / "here"), None)
    assert len(audit.audit_split(build(draft), "train").pairs) == 4
    os.symlink(tmp_path / "far", tmp_path / "far/again")
    with pytest.raises(UserError, match="a link to a folder above itself; remove the link"):
        configuration.draft_configuration(str(tmp_path / "here"), None)


def test_labelled_images_of_other_splits_are_counted(tmp_path):
    tool_exports.write_mask_suffix(tmp_path)
    draft = configuration.draft_configuration(str(tmp_path), None)
    (fact,) = (line for line in draft.facts if "not trained on" in line)
    assert "4 image(s) with a mask are not in the split" in fact
    draft.bindings["SOURCE_SPLITS"] = {"train": ""}
    assert 'SOURCE_SPLITS = {"train": ""}' in fact
    assert len(audit.audit_split(build(draft), "train").pairs) == 8


def test_predictions_are_neither_images_nor_masks(tmp_path):
    tool_exports.write_plain(tmp_path / "drawn")
    tool_exports.write_pairs(tmp_path / "real", "{}.jpg", "labelled/ids/{}.png")
    tool_exports.write_pairs(tmp_path / "real", "labelled/overlay/{}.png", "labelled/color/{}.png")
    draft = configuration.draft_configuration(str(tmp_path / "drawn"), str(tmp_path / "real"))
    assert "TARGET_MASKS" not in draft.bindings
    assert len(build(draft, "TARGET").list_pairs("train")) == 4
    assert any("12 x prediction *.png, such as labelled/color/0" in line for line in draft.facts)


def test_masks_that_may_be_predictions_are_asked_about(tmp_path):
    tool_exports.write_plain(tmp_path / "drawn")
    tool_exports.write_pairs(tmp_path / "real", "{}.jpg", "predictions/ids/{}.png")
    draft = configuration.draft_configuration(str(tmp_path / "drawn"), str(tmp_path / "real"))
    assert draft.bindings["TARGET_MASKS"] == "predictions/ids"
    assert any("if they are predictions, leave the binding out" in q for q in draft.questions)


@pytest.mark.parametrize(
    "write, problem, binding",
    [
        (tool_exports.write_binary, "hold ids that those of the source lack: 255", "id_table."),
        (
            tool_exports.write_tiles,
            "hold colors that",
            "color_table, with target/folder.Folder.id_",
        ),
        (tool_exports.write_labelme, "label car, ground, which CLASS_NAMES lacks", "id_table."),
        (tool_exports.write_splits, None, None),
    ],
)
def test_masks_of_the_target_that_the_bindings_of_the_source_do_not_fit(
    tmp_path, write, problem, binding
):
    tool_exports.write_plain(tmp_path / "drawn")
    write(tmp_path / "real")
    draft = configuration.draft_configuration(str(tmp_path / "drawn"), str(tmp_path / "real"))
    asked = [q for q in draft.questions if q.startswith("The masks of")]
    assert len(asked) == (problem is not None)
    assert all(problem in q and f"bind target/folder.Folder.{binding}" in q for q in asked)


def test_descriptions_that_do_not_apply_are_not_logged(tmp_path, caplog):
    tool_exports.write_coco_splits(tmp_path)
    caplog.set_level(logging.INFO, logger="absl")
    configuration.draft_configuration(str(tmp_path), None)
    assert not caplog.records
