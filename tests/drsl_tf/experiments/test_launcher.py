"""Finished and moved runs, resumed by the same command with other bindings."""

import json
import shutil

import gin
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipelines.errors import UserError
from drsl_tf.experiments import launcher
from drsl_tf.runs.run_directory import RunDirectory

_CONFIG = """
include "folder.gin"
include "models/small_cnn.gin"

import drsl_tf
from tests.support import tiny_network

CLASS_NAMES = ["sky", "ground"]
TARGET_MASKS = "masks"
SIZE = (32, 48)
CROP = (32, 32)
SOURCE_STEPS = 2
STEPS_PER_ROUND = 2
drsl_tf.build_model.base = @tiny_network.tiny_base
drsl_tf.OnlineDrslModel.threshold = 1.0
POSTERIOR_WEIGHT = 0.5  # Of no use without a multi-modal head.
drsl_tf.Monitoring.figure_images = 0
drsl_tf.Monitoring.tensorboard = False
"""


def _write_data(root):
    rng = np.random.default_rng(0)
    for domain, count in (("drawn", 4), ("real", 3)):
        for folder in ("images", "masks"):
            (root / domain / folder).mkdir(parents=True)
        for index in range(count):
            label = np.zeros((32, 48), np.uint8)
            label[int(rng.integers(8, 24)) :] = 1
            image = np.clip(100 * label[..., None] + rng.integers(0, 80, (32, 48, 3)), 0, 255)
            path = root / domain / "images" / f"{index}.png"
            Image.fromarray(image.astype(np.uint8)).save(path)
            Image.fromarray(label).save(root / domain / "masks" / f"{index}.png")


def _launch(folder, data, run_dir, *params):
    roots = [f"SOURCE = '{data}/drawn'", f"TARGET = '{data}/real'"]
    try:
        return launcher.launch([str(folder / "mine.gin")], [*roots, *params], str(run_dir))
    finally:
        gin.clear_config()


def _read_results(run_dir):
    content = json.loads((run_dir / "results.json").read_text())
    for stage in content["stages"]:
        del stage["seconds"]
    return content


def _read_variables(run_dir):
    path = tf.train.latest_checkpoint(RunDirectory(str(run_dir)).checkpoints)
    reader = tf.train.load_checkpoint(path)
    keys = [key for key in reader.get_variable_to_shape_map() if "/seconds/" not in key]
    return {key: reader.get_tensor(key) for key in keys if key.endswith("VARIABLE_VALUE")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The configuration, the data in `a`, and `run`, finished with one round."""
    folder = tmp_path_factory.mktemp("launcher")
    (folder / "mine.gin").write_text(_CONFIG)
    _write_data(folder / "a")
    _launch(folder, folder / "a", folder / "run", "ROUNDS = 1")
    return folder


@pytest.fixture(scope="module")
def resumed(folder):
    """The finished run, resumed with one more round after its data moved to `b`."""
    run_dir = folder / "resumed"
    shutil.copytree(folder / "run", run_dir)
    shutil.copytree(folder / "a", folder / "b", copy_function=shutil.copyfile)
    _launch(folder, folder / "b", run_dir, "ROUNDS = 2")
    return run_dir


def test_a_finished_run_goes_on_with_more_rounds_after_its_data_moved(folder, resumed):
    stages = _read_results(resumed)["stages"]
    assert [stage["round"] for stage in stages] == [0, 1, 2]
    assert stages[:2] == _read_results(folder / "run")["stages"]
    assert str(folder / "b" / "drawn") in (resumed / "data.json").read_text()


@pytest.mark.slow
def test_more_rounds_later_equal_more_rounds_from_the_start_bit_for_bit(folder, resumed):
    _launch(folder, folder / "a", folder / "whole", "ROUNDS = 2")
    assert _read_results(resumed) == _read_results(folder / "whole")
    variables, others = _read_variables(resumed), _read_variables(folder / "whole")
    assert variables.keys() == others.keys() and len(variables) > 20
    for key, array in variables.items():
        np.testing.assert_array_equal(array, others[key], err_msg=key)


@pytest.mark.parametrize(
    "param, words",
    [
        ("ROUNDS = 0", "1 finished rounds, and Schedule.rounds is 0. Bind at least 1"),
        ("SOURCE_STEPS = 3", "SOURCE_STEPS was 2 and is 3"),
    ],
)
def test_what_a_run_cannot_change_is_refused(folder, param, words):
    config = (folder / "run" / "config.gin").read_text()
    with pytest.raises(UserError, match=words):
        _launch(folder, folder / "a", folder / "run", "ROUNDS = 1", param)
    assert (folder / "run" / "config.gin").read_text() == config


def test_a_teacher_that_is_hardly_confident_is_a_warning_of_its_round(folder):
    """No pixel reaches a threshold of 1."""
    source, adapted = _read_results(folder / "run")["stages"]
    (warning,) = adapted["warnings"]
    assert not source["warnings"]
    assert "After round 1 the teacher is confident of 0.0% of the pixels of 3 target" in warning


def test_a_weight_without_its_head_is_warned_of(folder, caplog):
    with caplog.at_level("WARNING"):
        _launch(folder, folder / "a", folder / "run", "ROUNDS = 1")
    assert "arguments of OnlineDrslModel have no effect: posterior_weight. Bind" in caplog.text


def test_other_files_below_another_root_are_another_run(folder, tmp_path, caplog):
    run_dir = tmp_path / "run"
    shutil.copytree(folder / "run", run_dir)
    data = tmp_path / "data"
    shutil.copytree(folder / "a", data)
    (data / "drawn" / "images" / "3.png").unlink()
    (data / "drawn" / "masks" / "3.png").unlink()
    config = (run_dir / "config.gin").read_text()
    for _ in range(2):  # The refused root is not remembered.
        with pytest.raises(UserError, match="source had 4 images in .* and has 3 in .*--fresh"):
            _launch(folder, data, run_dir, "ROUNDS = 1")
        assert (run_dir / "config.gin").read_text() == config
    # Below the same root it is a warning: a file was fixed.
    shutil.copytree(folder / "a", tmp_path / "fixed")
    _launch(folder, tmp_path / "fixed", run_dir, "ROUNDS = 1")
    shutil.copy(folder / "a" / "real" / "images" / "0.png", tmp_path / "fixed/real/images/9.png")
    shutil.copy(folder / "a" / "real" / "masks" / "0.png", tmp_path / "fixed/real/masks/9.png")
    with caplog.at_level("WARNING"):
        _launch(folder, tmp_path / "fixed", run_dir, "ROUNDS = 1")
    assert "The files of this run changed: target had 3 images" in caplog.text


def test_a_run_without_a_record_of_its_files_keeps_its_roots(folder, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(folder / "run", run_dir)
    (run_dir / "data.json").unlink()
    shutil.copytree(folder / "a", tmp_path / "data")
    with pytest.raises(UserError, match="SOURCE was"):
        _launch(folder, tmp_path / "data", run_dir, "ROUNDS = 1")
