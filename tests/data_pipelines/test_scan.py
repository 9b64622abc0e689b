"""The configuration that a look at folders writes."""

from __future__ import annotations

import json
import pathlib

import gin
import numpy as np
import pytest
from PIL import Image

from data_pipelines.auditing import audit
from data_pipelines.domains.folder import Folder
from data_pipelines.errors import UserError
from data_pipelines.scanning import configuration
from tests.support import calls

SIZE = (48, 64)
COLORS = np.array([(0, 0, 0), (51, 221, 255), (250, 50, 83)], np.uint8)


def draw(seed):
    """Returns a photo and its ids: areas of 0, 1 and 2."""
    rng = np.random.default_rng(seed)
    ids = np.zeros(SIZE, np.uint8)
    ids[16:] = 1
    left = int(rng.integers(4, 40))
    ids[20:36, left : left + 16] = 2
    photo = np.array([(120, 170, 230), (60, 140, 60), (200, 40, 40)])[ids]
    return np.clip(photo + rng.normal(0, 12, (*SIZE, 3)), 0, 255).astype(np.uint8), ids


def put(root, place, array, **options):
    path = pathlib.Path(root, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def put_text(root, place, text):
    path = pathlib.Path(root, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")


def write_pairs(root, image, mask, encode=lambda ids: ids, numbers=range(4), **options):
    for number in numbers:
        photo, ids = draw(number)
        put(root, image.format(number), photo)
        put(root, mask.format(number), encode(ids), **options)


def in_red(ids):
    picture = np.zeros((*ids.shape, 4), np.uint8)
    picture[..., 0], picture[..., 3] = ids + 5, 255
    return picture


def only_car(ids):
    return np.where(ids == 2, 255, 0).astype(np.uint8)


def write_plain(root):
    write_pairs(root, "images/{}.jpg", "masks/{}.png")


def write_binary_jpeg(root):
    write_pairs(
        root, "images/{}.png", "masks/{}.jpg", lambda ids: (ids == 2).astype(np.uint8) * 255
    )


def write_binary(root):
    write_pairs(
        root, "images/{}.jpg", "masks/{}.png", lambda ids: (ids == 2).astype(np.uint8) * 255
    )


def write_carla(root):
    write_pairs(root, "rgb/{:06}.png", "semantic/{:06}.png", in_red)


def write_unity(root):
    write_pairs(root, "RGB/rgb_{}.png", "Semantic/segmentation_{}.png", COLORS.__getitem__)
    spec = [
        {"label_name": name, "pixel_value": dict(zip("rgba", (*(COLORS[i] / 255).tolist(), 1.0)))}
        for i, name in enumerate(("sky", "ground", "car"))
    ]
    put_text(root, "annotation_definitions.json", {"annotation_definitions": [{"spec": spec}]})


def write_scenes(root):
    for scene in range(2):
        write_pairs(root, f"scene{scene}/rgb/{{}}.png", f"scene{scene}/semantic/{{}}.png")


def write_tiles(root):
    write_pairs(root, "top_{}_RGB.tif", "top_{}_label.tif", COLORS.__getitem__)


def write_mask_suffix(root):
    for split in ("train", "valid"):
        write_pairs(root, f"{split}/shot{{}}.jpg", f"{split}/shot{{}}_mask.png")
    put_text(root, "train/_classes.csv", "Pixel Value, Class\n0, sky\n1, ground\n2, car\n")


def write_cvat(root):
    write_pairs(root, "JPEGImages/{}.jpg", "SegmentationClass/{}.png", COLORS.__getitem__)
    write_pairs(root, "JPEGImages/{}.jpg", "SegmentationObject/{}.png", COLORS[::-1].__getitem__)
    lines = [f"{n}:{','.join(map(str, c))}::" for n, c in zip(("sky", "ground", "car"), COLORS)]
    put_text(root, "labelmap.txt", "# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    put_text(root, "ImageSets/Segmentation/default.txt", "0\n1\n2\n3\n")


def write_splits(root):
    for split, numbers in (("train", range(3)), ("val", range(3, 5))):
        write_pairs(root, f"images/{split}/{{}}.jpg", f"labels/{split}/{{}}.png", numbers=numbers)


def write_split_folders(root):
    for split in ("train", "val"):
        write_pairs(root, f"{split}/img/{{}}.jpg", f"{split}/gt/{{}}.png")


def write_replicator(root):
    write_pairs(root, "rgb_{:04}.png", "semantic_segmentation_{:04}.png", COLORS.__getitem__)
    table = {str((*COLORS[i].tolist(), 255)): {"class": n} for i, n in enumerate(("a", "b", "c"))}
    for number in range(4):
        put_text(root, f"semantic_segmentation_labels_{number:04}.json", table)


def make_shapes(ids):
    columns = np.flatnonzero((ids == 2).any(0))
    left, right = int(columns.min()), int(columns.max())
    ground = [[0, 16], [63, 16], [63, 47], [0, 47]]
    return [
        {"label": "ground", "shape_type": "polygon", "points": ground},
        {"label": "car", "shape_type": "rectangle", "points": [[left, 20], [right, 35]]},
    ]


def write_labelme(root):
    for number in range(4):
        photo, ids = draw(number)
        put(root, f"{number}.jpg", photo)
        content = {"imageHeight": 48, "imageWidth": 64, "shapes": make_shapes(ids)}
        put_text(root, f"{number}.json", content)


def make_coco(names):
    images, annotations = [], []
    for number, name in enumerate(names):
        images.append({"id": number, "file_name": name, "height": 48, "width": 64})
        ground, car = (shape["points"] for shape in make_shapes(draw(number)[1]))
        for index, ((x0, y0), (x1, y1)) in enumerate(((ground[0], ground[2]), car)):
            polygon = [x0, y0, x1, y0, x1, y1, x0, y1]
            annotations.append(
                {"image_id": number, "category_id": index + 1, "segmentation": [polygon]}
            )
    categories = [{"id": 1, "name": "ground"}, {"id": 2, "name": "car"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(root):
    for number in range(4):
        put(root, f"images/{number}.jpg", draw(number)[0])
    put_text(root, "annotations/instances.json", make_coco([f"{n}.jpg" for n in range(4)]))


def write_coco_splits(root):
    for split in ("train", "valid"):
        for number in range(2):
            put(root, f"{split}/{split}{number}.jpg", draw(number)[0])
        names = [f"{split}{number}.jpg" for number in range(2)]
        put_text(root, f"{split}/_annotations.coco.json", make_coco(names))


def write_layers(root):
    for number in range(3):
        photo, ids = draw(number)
        put(root, f"images/{number}.jpg", photo)
        for value, name in enumerate(("sky", "ground", "car")):
            put(root, f"masks/{number}/{name}.png", (ids == value).astype(np.uint8) * 255)


def write_palettes(root):
    """As a program writes that sorts the palette of each file otherwise."""
    for number, order in enumerate(([0, 1, 2], [2, 0, 1])):
        photo, ids = draw(number)
        put(root, f"images/{number}.jpg", photo)
        picture = Image.fromarray(np.array(order, np.uint8)[ids])
        palette = np.zeros((256, 3), np.uint8)
        palette[order] = COLORS
        picture.putpalette(palette.tobytes())
        pathlib.Path(root, "masks").mkdir(exist_ok=True)
        picture.save(pathlib.Path(root, f"masks/{number}.png"))


def build(draft, prefix="SOURCE"):
    """Creates the reader that the bindings describe, as data/own_folders.gin does."""
    bindings = draft.bindings
    return Folder(
        root=bindings[prefix],
        images=bindings.get(f"{prefix}_IMAGES", "images"),
        masks=bindings.get(f"{prefix}_MASKS", "masks" if prefix == "SOURCE" else None),
        splits=bindings.get(f"{prefix}_SPLITS", {"train": "", "val": ""}),
        mask_suffix=bindings.get("MASK_SUFFIX", ""),
        class_names=bindings["CLASS_NAMES"],
        id_table=bindings.get("ID_TABLE"),
        color_table=bindings.get("COLOR_TABLE"),
        nearest_color=bindings.get("NEAREST_COLOR", False),
        background=bindings.get("BACKGROUND"),
    )


@pytest.mark.parametrize(
    "write, count, classes, named",
    [
        (write_plain, 4, 3, False),
        (write_binary, 4, 2, True),
        (write_binary_jpeg, 4, 2, False),
        (write_carla, 4, 3, False),
        (write_unity, 4, 3, True),
        (write_scenes, 8, 3, False),
        (write_tiles, 4, 3, False),
        (write_mask_suffix, 4, 3, True),
        (write_cvat, 4, 3, True),
        (write_splits, 3, 3, False),
        (write_split_folders, 4, 3, False),
        (write_replicator, 4, 3, True),
        (write_labelme, 4, 3, True),
        (write_coco, 4, 3, True),
        (write_coco_splits, 2, 3, True),
        (write_palettes, 2, 3, False),
        (write_layers, 3, 3, True),
    ],
)
def test_layouts_lead_to_a_configuration_that_reads_them(tmp_path, write, count, classes, named):
    root = str(tmp_path / "data")
    write(root)
    draft = configuration.draft_configuration(root, None)
    domain = build(draft)
    report = audit.audit_split(domain, "train", progress=False)
    assert len(report.pairs) == count and not report.skipped
    assert len(report.classes) == classes
    # Where a picture is drawn for each class, the background may be covered.
    assert domain.label_space.class_names[:-classes] in ((), ("background",))
    unnamed = any(name.startswith("class_") for name in domain.label_space.class_names)
    assert unnamed != named
    # Areas are those that were drawn, up to the order of the classes.
    label = domain.read_label(report.pairs[0].label_path)
    areas = sorted(np.bincount(draw(0)[1].reshape(-1)).tolist())
    if classes == 3:
        found = sorted(np.bincount(label.reshape(-1), minlength=3).tolist())
        np.testing.assert_allclose(found, areas, atol=3)


def test_two_folders_to_a_gin_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cvat("a drawn")
    for number in range(3):
        put("real", f"{number}.jpg", draw(50 + number)[0])
    put_text("real", "notes.docx", "x")
    put("real", "9.heif2", draw(1)[0], format="PNG")
    draft = configuration.draft_configuration("a drawn", "real")
    text = draft.write("python -m data_pipelines.scan 'a drawn' real")
    assert 'include "folder.gin"' in text and "# TO DO: CLASS_NAMES" in text
    assert "real: not used: 1 x file *.docx." in text and "*.heif2" in text
    assert "a drawn: not used: 4 x other picture of few colours *.png." in text
    with gin.unlock_config():
        gin.clear_config()
        try:
            gin.parse_config(text.replace('include "folder.gin"', ""))
            for name, value in draft.bindings.items():
                assert gin.query_parameter(f"%{name}") == value
        finally:
            gin.clear_config()
    target = build(draft, "TARGET")
    assert not target.has_labels("train") and len(target.list_pairs("train")) == 3
    assert draft.bindings["SIZE"] == (64, 64) and draft.bindings["CROP"] == (64, 64)


def test_folders_that_cannot_be_described(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        configuration.draft_configuration(str(tmp_path / "no"), None)
    put_text(tmp_path, "x.pdf", "x")
    with pytest.raises(UserError, match=r"holds no photo among its 1 file.s. \(.pdf\)"):
        configuration.draft_configuration(str(tmp_path), None)
    put(tmp_path, "images/1.jpg", draw(0)[0])
    with pytest.raises(UserError, match="1 image.s. and no mask that fits"):
        configuration.draft_configuration(str(tmp_path), None)


def test_target_with_masks_to_score_on(tmp_path):
    write_splits(tmp_path / "drawn")
    for split in ("train", "val"):
        write_pairs(tmp_path / "real", f"images/{split}/{{}}.jpg", f"m/{split}/{{}}.png")
    draft = configuration.draft_configuration(str(tmp_path / "drawn"), str(tmp_path / "real"))
    target = build(draft, "TARGET")
    assert target.splits == ("train", "val") and target.has_labels("val")
    assert draft.bindings["SOURCE_SPLITS"] == {"train": "train", "val": "val"}


def test_the_command_writes_once_and_says_what_is_left_to_do(tmp_path):
    write_plain(tmp_path / "drawn")
    command = ("-m", "data_pipelines.scan", "drawn", "--output=here.gin")
    said = calls.read_output(*command, cwd=tmp_path)
    assert "TO DO: TARGET is the folder" in said and "TO DO: The files do not say" in said
    assert "Next: python -m drsl_tf.inspect here.gin" in said
    written = (tmp_path / "here.gin").read_bytes()
    calls.assert_refused(calls.call_python(*command, cwd=tmp_path), "here.gin exists")
    assert (tmp_path / "here.gin").read_bytes() == written
    nothing = calls.call_python("-m", "data_pipelines.scan", cwd=tmp_path)
    calls.assert_refused(nothing, "Name one or two folders")
