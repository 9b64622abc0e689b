"""A disk that fills up under a run, once for everything that training writes.

DRSL_TF_FAULTS=all tries every file that a run writes; by default it is three.
"""

import os
import shutil

import keras
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.io import whole_files
from drsl_tf.experiments import launcher
from drsl_tf.models.model import DrslModel
from drsl_tf.monitoring.tensorboard import TensorBoardWriter
from drsl_tf.networks.heads import linear_head
from drsl_tf.networks.heads import multimodal_head
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler
from drsl_tf.self_training.schedule import Schedule
from tests.support import small_disk
from tests.support import streets
from tests.support import tiny_network
from tests.support import training

# In the order in which a run meets them; a run that goes on must not pass one before its turn.
_FILES = (
    "checkpoints",
    "panels/frames/0_image.png",
    "tensorboard/events",
    "confusion/round_0.csv",
    "predictions/round_0",
    "results.json",
    "panels/round_0",
    "tensorboard/projector",
    "pseudo_labels/round_1.partial/.logits",
    "pseudo_labels/round_1.partial/ashbourne",
    "pseudo_labels/round_1.partial/report.json",
    "confusion/round_1.csv",
    "figure.png",
)
_REDUCED = ("checkpoints", "tensorboard/events", "pseudo_labels/round_1.partial/report.json")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Renders a source of 4 scenes and a target of 4 + 2."""
    return streets.render_roots(tmp_path_factory.mktemp("streets"), num_source=4)


def _build_model(label_space):
    num_classes = label_space.num_classes
    head = multimodal_head.MultimodalHead(num_classes, 2, 8, hidden_units=(8,))
    base = tiny_network.tiny_base()
    return DrslModel(base, linear_head.LinearHead(num_classes), head)


def _run(roots, run_dir):
    return training.train(
        run_dir,
        data=streets.make_data(roots),
        schedule=Schedule(source_steps=2, rounds=1, steps_per_round=2, checkpoint_every=1),
        build_model=_build_model,
        optimizer=lambda: keras.optimizers.SGD(1e-3),
        figure_images=1,
    )


class _StopError(Exception):
    """Breaks a run off."""


class _FullAt:
    """Fills a disk when a file is about to be written.

    Args:
        monkeypatch: pytest's.
        disk: the disk.
        run_dir: the run's directory on it.
    """

    def __init__(self, monkeypatch, disk, run_dir):
        self._disk = disk
        self._run_dir = run_dir
        self.place = None
        write_whole = whole_files.write_whole

        def watch_file(path, *arguments, **options):
            self._meet(path)
            return write_whole(path, *arguments, **options)

        monkeypatch.setattr(whole_files, "write_whole", watch_file)
        self._watch(monkeypatch, tf.train.Checkpoint, "write", "checkpoints")
        self._watch(monkeypatch, TensorBoardWriter, "on_epoch_end", "tensorboard/events")
        logits = "pseudo_labels/round_1.partial/.logits"
        self._watch(monkeypatch, PseudoLabeler, "_collect", logits)

    def _watch(self, monkeypatch, owner, name, place):
        method = getattr(owner, name)

        def watched(*arguments, **options):
            self._meet(os.path.join(self._run_dir, place))
            return method(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    def _meet(self, path):
        if self.place is not None and path.startswith(os.path.join(self._run_dir, self.place)):
            self._disk.fill()


def _list_partial(run_dir):
    found = [os.path.join(at, name) for at, folders, names in os.walk(run_dir) for name in names]
    return [path for path in found if path.endswith(whole_files.PARTIAL)]


@pytest.mark.slow
def test_a_run_says_what_it_could_not_write_and_goes_on_from_there(roots, tmp_path, monkeypatch):
    undisturbed = _run(roots, str(tmp_path / "undisturbed"))
    places = _FILES if os.environ.get("DRSL_TF_FAULTS") == "all" else _REDUCED
    with small_disk.mount_small_disk(tmp_path) as disk:
        run_dir = os.path.join(disk.path, "run")
        os.makedirs(run_dir)
        full = _FullAt(monkeypatch, disk, run_dir)
        for place in places:
            full.place = place
            with pytest.raises(UserError, match="No space left on device") as caught:
                _run(roots, run_dir)
            # A log folder and a checkpoint folder are named for what lies in them.
            named = str(caught.value)
            assert os.path.join(run_dir, place.split("/")[0].replace(".partial", "")) in named
            assert "run the same command again" in named and "\n" not in named
            assert _list_partial(run_dir) == []
            disk.free()
        full.place = None
        results = _run(roots, run_dir)
        assert [stage.round for stage in results.stages] == [0, 1]
        for stage, expected in zip(results.stages, undisturbed.stages):
            assert stage.miou == pytest.approx(expected.miou, abs=1e-3)
        names = {name.split("/", 1)[1] for name in disk.list_names()}
        expected_names = {
            os.path.relpath(os.path.join(at, name), tmp_path / "undisturbed")
            for at, _, found in os.walk(tmp_path / "undisturbed")
            for name in found
        }
        kept = ("tensorboard/events", "checkpoints/")
        assert {name for name in names if not name.startswith(kept)} == {
            name for name in expected_names if not name.startswith(kept)
        }


def test_a_configuration_that_cannot_be_written_stops_the_run_before_it_begins(tmp_path):
    with small_disk.mount_small_disk(tmp_path) as disk:
        disk.fill()
        run_dir = os.path.join(disk.path, "run")
        params = ["SOURCE_STEPS = 1", "ROUNDS = 0"]
        with pytest.raises(UserError, match="config.gin cannot be written: No space left"):
            launcher.launch(["demo.gin"], params, run_dir)
        assert disk.list_names() == []


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_pseudo_label_that_went_bad_is_named(roots, tmp_path, monkeypatch, damage):
    run_dir = str(tmp_path / "run")

    generate = PseudoLabeler.generate

    def generate_and_stop(*arguments, **options):
        generate(*arguments, **options)
        raise _StopError

    monkeypatch.setattr(PseudoLabeler, "generate", generate_and_stop)
    with pytest.raises(_StopError):
        _run(roots, run_dir)
    monkeypatch.undo()
    folder = os.path.join(run_dir, "pseudo_labels", "round_1")
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            if name.endswith(".png") and damage == "gone":
                os.remove(path)
            elif name.endswith(".png"):
                os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(UserError, match="which this run wrote, (is missing|cannot be decoded)"):
        _run(roots, run_dir)


def test_an_image_that_vanishes_after_its_audit_is_named(roots, tmp_path, monkeypatch):
    game = str(tmp_path / "game")
    shutil.copytree(roots[0], game)
    data = streets.make_data((game, roots[1]))
    read_image, calls = data.source.read_image, []

    def vanish(path):
        calls.append(path)
        if len(calls) > 3:
            os.remove(path)
        return read_image(path)

    monkeypatch.setattr(streets, "make_data", lambda roots: data)
    monkeypatch.setattr(data.source, "read_image", vanish)
    with pytest.raises(UserError, match="images/0000.*png is missing") as caught:
        _run(roots, str(tmp_path / "run"))
    assert "\n" not in str(caught.value)
