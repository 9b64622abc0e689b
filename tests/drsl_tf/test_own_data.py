"""From two folders of images and binary masks to label maps, by the commands that the docs show."""

import json
import os
import re

import gin
import numpy as np
import pytest
from PIL import Image

from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from data_pipelines.scanning import configuration
from drsl_tf.experiments import inspection
from drsl_tf.experiments import launcher
from drsl_tf.experiments.experiment import Experiment
from tests.support import calls
from tests.support import photo_folders
from tests.support import repository
from tests.support import tool_exports

with open(os.path.join(repository.ROOT, "docs", "own_data.md"), encoding="utf-8") as _file:
    _BLOCKS = re.findall(r"```\n(.*?)```", _file.read(), flags=re.DOTALL)
# The configuration of the docs, and what they add to it for other purposes.
_CVAT, _CARLA, _CONFIG, _OTHER_NETWORK, _WARM_START, _FEW_LABELS, _DECLARED = _BLOCKS
_SHORT = """
import drsl_tf

drsl_tf.backbones.small_cnn.width = 8
SIZE = (40, 56)
CROP = (32, 32)
SOURCE_STEPS = 2
ROUNDS = 1
STEPS_PER_ROUND = 2
"""


def _call(*arguments, cwd):
    return calls.read_output("-m", *arguments, cwd=cwd, timeout=400)


@pytest.mark.parametrize("name, block", [("cvat", _CVAT), ("carla", _CARLA)])
def test_the_lines_that_scan_writes_are_those_shown(name, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo_folders.write_photos(tmp_path / "photos")
    getattr(tool_exports, f"write_{name}")(f"exports/{name}")
    draft = configuration.draft_configuration(f"exports/{name}", "photos/real")
    assert set(block.splitlines()) <= set(draft.write("").splitlines())


def test_declared_classes_go_through_the_reader_too(tmp_path):
    path = tmp_path / "declared.gin"
    path.write_text(_CONFIG + _DECLARED)
    assert Experiment([str(path)]).label_space == label_spaces.cityscapes19()
    assert gin.get_bindings("source/folder.Folder")["id_table"] == {10: 0, 11: 1, 40: 10, 0: 255}
    assert gin.get_bindings("target/folder.Folder")["id_table"] == {0: 0, 255: 1}


def test_a_warm_start_trains_the_rounds_alone(tmp_path):
    path = tmp_path / "warm.gin"
    path.write_text(_CONFIG + _WARM_START)
    experiment = Experiment([str(path)])
    assert experiment.get("settings").initial_run == "runs/source"
    assert experiment.get("schedule").source_steps == 0


def _audit_with_target_masks(folder, added, **masks):
    """Returns the audited data of the docs' configuration, with lines added.

    Args:
        folder: an empty folder.
        added: the lines.
        **masks: folder of masks -> place of the image in the target that has one there.
    """
    photo_folders.write_photos(folder / "photos")
    real = folder / "photos" / "real"
    images = sorted((real / "images" / "day one").iterdir())
    for name, place in masks.items():
        (real / name / "day one").mkdir(parents=True)
        mask = np.zeros(np.asarray(Image.open(images[place])).shape[:2], np.uint8)
        Image.fromarray(mask).save(real / name / "day one" / f"{images[place].stem}.png")
    path = folder / "mine.gin"
    path.write_text(_CONFIG.replace('"photos/', f'"{folder}/photos/') + added)
    data = Experiment([str(path)]).get("data")
    data.audit()
    return data


def test_target_images_with_masks_are_scored_and_all_are_adapted_to(tmp_path):
    data = _audit_with_target_masks(tmp_path, 'TARGET_MASKS = "masks"', masks=0)
    splits = {role: pairs for role, (_, _, pairs) in data.list_splits().items()}
    assert {role: len(pairs) for role, pairs in splits.items()} == {
        "source": 5, "target": 3, "eval": 1,
    }  # fmt: skip
    assert all(pair.label_path is None for pair in splits["target"])
    assert splits["eval"][0].image_path in [pair.image_path for pair in splits["target"]]


def test_a_few_labelled_target_images_are_a_second_source(tmp_path):
    data = _audit_with_target_masks(tmp_path, _FEW_LABELS, labels=0)
    splits = data.list_splits()
    assert [len(splits[role][2]) for role in ("source", "source_2", "target")] == [5, 1, 3]
    assert "eval" not in splits
    np.testing.assert_allclose(data.make_source_stream().image_weights[-1], 0.25)


@pytest.mark.parametrize("scored", [0, 1])
def test_images_are_not_scored_by_labels_that_training_reads(tmp_path, scored):
    added = _FEW_LABELS + 'TARGET_MASKS = "masks"'
    data = _audit_with_target_masks(tmp_path, added, labels=0, masks=scored)
    if scored == 0:
        with pytest.raises(UserError, match="1 of the 1 images to score, .*of the source_2 too"):
            data.check_scored()
    else:
        data.check_scored()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with photos, the configuration of the docs, and a shorter one."""
    folder = tmp_path_factory.mktemp("own")
    photo_folders.write_photos(folder / "photos")
    (folder / "mine.gin").write_text(_CONFIG)
    description = _CONFIG.replace('include "folder.gin"', "")
    (folder / "short.gin").write_text(_OTHER_NETWORK + description + _SHORT)
    return folder


def test_the_inspection_says_what_the_model_will_see(workplace):
    text = _call("drsl_tf.inspect", "mine.gin", cwd=workplace)
    assert "source: folder, split 'train': 5 images with labels" in text
    assert "target: folder, split 'train': 3 images without labels" in text
    assert "45 x 60 (4), 60 x 45 (1)" in text
    rows = [line.split() for line in text.splitlines()]
    shares = {row[0]: float(row[1]) for row in rows if row[:1] in (["background"], ["road"])}
    assert shares["road"] == pytest.approx(100 * 400 / 2700, abs=0.01)
    assert shares["background"] == pytest.approx(100 - shares["road"], abs=0.01)
    assert "warning" not in text and "scores will be null" in text
    with Image.open(workplace / "runs" / "mine" / "inspection.png") as sheet:
        colors = {color for _, color in sheet.convert("RGB").getcolors(1 << 20)}
    assert {(128, 0, 0), (0, 128, 0)} <= colors


def test_the_inspection_warns_where_the_table_is_missing(workplace, monkeypatch):
    """Without it, 255 is the ignored id."""
    monkeypatch.chdir(workplace)
    text = inspection.inspect_experiment(
        ["mine.gin"], ["ID_TABLE = None"], "runs/mine", "sheet.png", count=1
    )
    assert "warning: no label here holds road" in text
    assert os.path.isfile(workplace / "sheet.png")


def test_a_target_that_is_the_source_is_refused_where_there_are_rounds(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    same = ["TARGET = 'photos/drawn'"]
    with pytest.raises(UserError, match="All 5 target images, .*are images of the source"):
        inspection.inspect_experiment(["mine.gin"], same, "runs/same", "same.png", count=1)
    with pytest.raises(UserError, match="All 5 target images, .*are images of the source"):
        launcher.launch(["mine.gin"], same, run_dir="runs/same")
    controls = ["mine.gin", "recipes/source_only.gin"]
    inspection.inspect_experiment(controls, same, "runs/same", "same.png", count=1)
    assert not os.path.exists("runs/same/checkpoints")


@pytest.mark.slow
def test_from_folders_to_label_maps(workplace):
    _call("drsl_tf.train", "--gin_file=short.gin", "--run_dir=runs/short", cwd=workplace)
    results = json.loads((workplace / "runs" / "short" / "results.json").read_text())
    assert [stage["miou"] for stage in results["stages"]] == [None, None]
    assert results["stages"][1]["pseudo_label"] is None
    assert (workplace / "runs" / "short" / "panels" / "round_1" / "0_pseudo_label.png").is_file()

    rounds = ("--gin_file=short.gin", "--gin_file=recipes/rounds.gin")
    _call("drsl_tf.train", *rounds, cwd=workplace)
    results = json.loads((workplace / "runs" / "short-rounds" / "results.json").read_text())
    assert set(results["stages"][1]["pseudo_label"]["pixels"]) == {"background", "road"}
    labels = workplace / "runs" / "short-rounds" / "pseudo_labels" / "round_1" / "day one"
    assert sorted(os.listdir(labels)) == ["0.png", "1.png", "2.png"]

    _call("drsl_tf.export", "--run_dir=runs/short", "--output=models/mine", cwd=workplace)
    _call(
        "drsl_tf.predict",
        "--model=models/mine",
        "--input=photos/real/images",
        "--output=labelled",
        "--what=ids,overlay",
        cwd=workplace,
    )
    for index, size in enumerate([(45, 60), (60, 45), (60, 45)]):
        with Image.open(workplace / "labelled" / "ids" / "day one" / f"{index}.png") as ids:
            assert ids.size == size
            assert set(np.unique(np.asarray(ids))) <= {0, 1}
        with Image.open(workplace / "labelled" / "overlay" / "day one" / f"{index}.png") as image:
            assert image.size == size and image.mode == "RGB"
