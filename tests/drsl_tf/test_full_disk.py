"""A full or read-only disk under everything that commands write, training apart."""

import os

import numpy as np
import pytest
from PIL import Image

from data_pipelines import published_archives
from data_pipelines.auditing import audit
from data_pipelines.batches import class_statistics
from data_pipelines.domains.camvid import CamVid
from data_pipelines.errors import UserError
from data_pipelines.streets import rendered
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.evaluation.reports import EvaluationReport
from drsl_tf.experiments import exporting
from drsl_tf.reporting import page
from drsl_tf.serving import folder_prediction
from drsl_tf.serving.predictor import Predictor
from tests.support import data_sets
from tests.support import published
from tests.support import run_dirs
from tests.support import run_records
from tests.support import small_disk


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A run, its exported model, its record and a photo, on a disk with room."""
    folder = tmp_path_factory.mktemp("prepared")
    run_dir, _ = run_dirs.make_run(folder)
    exporting.export_run(run_dir, str(folder / "model"))
    record = run_records.make_run(folder, "record")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / "photo.png")
    archive = published.write_kitti_semantics(folder / "archive")
    return {
        "archive": archive,
        "run": run_dir,
        "model": str(folder / "model"),
        "record": record,
        "photo": str(folder / "photo.png"),
    }


@pytest.fixture
def disk(tmp_path):
    with small_disk.mount_small_disk(tmp_path) as mounted:
        yield mounted


def _predict(prepared, folder):
    folder_prediction.predict_files(
        prepared["model"], prepared["photo"], folder, kinds=("ids", "color", "overlay")
    )
    assert _read_ids(os.path.join(folder, "ids", "photo.png")).shape == (32, 32)


def _read_ids(path):
    with Image.open(path) as file:
        return np.asarray(file)


def _export(format_name, name):
    def export(prepared, folder):
        path = os.path.join(folder, name)
        exporting.export_run(prepared["run"], path, format_name=format_name)
        label, _ = Predictor(path).predict(np.zeros((1, 32, 32, 3), np.uint8))
        assert label.shape == (1, 32, 32)

    return export


def _evaluate(prepared, folder):
    del prepared
    report = EvaluationReport(ConfusionMatrix(2), ["road", "sky"], {})
    paths = [os.path.join(folder, name) for name in ("scores.json", "matrix.csv", "matrix.png")]
    report.write(*paths)
    assert all(os.path.getsize(path) for path in paths)


def _report(prepared, folder):
    path = os.path.join(folder, "report.html")
    page.write_report([prepared["record"]], path)
    with open(path, encoding="utf-8") as file:
        assert file.read().endswith("</html>\n")


def _render(prepared, folder):
    del prepared
    root = os.path.join(folder, "streets")
    rendered.rendered_root(root=root, layout="gta5", style="game", count=2, size=(32, 64), seed=1)
    assert len(os.listdir(os.path.join(root, "images"))) == 2


def _prepare(prepared, folder):
    out = os.path.join(folder, "kitti")
    kitti = published.describe("kitti")
    assert published_archives.prepare(kitti, prepared["archive"], out)
    assert len(os.listdir(os.path.join(out, "masks", "train"))) == 3


_COMMANDS = {
    "predict": _predict,
    "export": _export("saved_model", "model"),
    "export tflite": _export("tflite", "model.tflite"),
    "evaluate": _evaluate,
    "report": _report,
    "render_streets": _render,
    "prepare": _prepare,
}


@pytest.mark.parametrize("name", _COMMANDS)
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_commands_say_it_and_finish_once_there_is_room(name, fault, prepared, disk):
    folder = os.path.join(disk.path, "deep", "out")
    os.makedirs(folder)
    if fault == "full":
        disk.fill()
    else:
        disk.set_read_only(True)
    words = "No space left on device" if fault == "full" else "Read-only file system"
    with pytest.raises(UserError, match=words) as caught:
        _COMMANDS[name](prepared, folder)
    assert folder in str(caught.value) and "\n" not in str(caught.value)
    assert disk.list_names() == []
    disk.set_read_only(False)
    disk.free()
    _COMMANDS[name](prepared, folder)
    assert not [place for place in disk.list_names() if "partial" in place or ".export" in place]


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_file_in_the_folder_s_place_is_said(name, prepared, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="Not a directory|File exists|is a file"):
        _COMMANDS[name](prepared, str(tmp_path / "file" / "out"))


def test_what_only_saves_time_costs_a_warning(disk, tmp_path):
    samples = data_sets.write_camvid(tmp_path / "data", count=3)
    domain = CamVid(root=str(tmp_path / "data"))
    kept = os.path.join(disk.path, "kept")
    os.makedirs(kept)
    disk.fill()
    report = audit.audit_split(domain, "train", stamp_dir=kept)

    def count():
        names = domain.label_space.class_names
        path = os.path.join(kept, "classes.json")
        return class_statistics.count_pixels(report.pairs, domain.read_label, names, path=path)

    counts = count()
    assert len(report.pairs) == len(samples) == len(counts)
    assert disk.list_names() == []
    disk.free()
    assert not audit.audit_split(domain, "train", stamp_dir=kept).from_stamp
    assert audit.audit_split(domain, "train", stamp_dir=kept).from_stamp
    np.testing.assert_array_equal(count(), counts)
    assert len(disk.list_names()) == 2


def test_a_broken_export_leaves_the_disk_as_it_was(prepared, disk):
    """Room for the graph, none for all of the weights."""
    disk.fill()
    with open(os.path.join(disk.path, "filler"), "r+b") as file:
        file.truncate(os.path.getsize(file.name) - 80_000)
    with pytest.raises(UserError, match="No space left on device"):
        exporting.export_run(prepared["run"], os.path.join(disk.path, "model"))
    assert disk.list_names() == []
