"""Checkpoints that are truncated, damaged, missing or of another model."""

import logging
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf import compat
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.runs import checkpoint_files
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.online_model import OnlineDrslModel
from tests.support import toys


@pytest.fixture(scope="module")
def model():
    """One small model for all tests; they change its weights."""
    made = toys.make_model()
    toys.compile_model(made, keras.optimizers.Adam(1e-3))
    return made


class _Run:
    """A store whose state is one number: that of the checkpoint, in every weight."""

    def __init__(self, directory, model):
        self.step = tf.Variable(0, dtype=tf.int64)
        self.model = model
        self.folder = os.path.join(directory, "checkpoints")
        self.store = CheckpointStore(str(directory), model, model.optimizer, {"step": self.step})

    def save(self, number):
        self.step.assign(number)
        for variable in self.model.trainable_variables:
            variable.assign(tf.fill(variable.shape, float(number)))
        return self.store.save()

    def restore(self):
        self.step.assign(-1)
        for variable in self.model.trainable_variables:
            variable.assign(tf.fill(variable.shape, -1.0))
        path = self.store.restore_latest()
        for variable in self.model.trainable_variables:
            np.testing.assert_array_equal(variable.numpy(), float(self.step))
        return path and int(self.step)


@pytest.fixture
def run(tmp_path, model):
    """Three checkpoints were saved, two are kept."""
    made = _Run(tmp_path, model)
    for number in (1, 2, 3):
        made.save(number)
    return made


def _find(run, number, ending):
    (name,) = [n for n in os.listdir(run.folder) if n.startswith(f"ckpt-{number}.{ending}")]
    return os.path.join(run.folder, name)


def test_the_newest_ones_are_kept_and_tensorflow_finds_them(run):
    assert len(os.listdir(run.folder)) == 5, "two of two files each, and the state"
    assert tf.train.latest_checkpoint(run.folder) == os.path.join(run.folder, "ckpt-3")
    assert run.restore() == 3


def _truncate(path):
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) // 2)


def _empty(path):
    with open(path, "wb"):
        pass


def _flip_bits(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))


@pytest.mark.parametrize("ending", ["data", "index"])
@pytest.mark.parametrize("spoil", [_truncate, _empty, _flip_bits, os.remove])
def test_a_spoilt_checkpoint_falls_back_to_the_one_before(run, ending, spoil, caplog):
    path = _find(run, 3, ending)
    spoil(path)
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert run.restore() == 2
    aside = os.path.join(run.folder, "unreadable")
    found = os.listdir(aside) if os.path.isdir(aside) else []
    # Without an index there is no checkpoint, only a file that is left over.
    if spoil is not os.remove or ending == "data":
        assert "ckpt-3 cannot be read" in caplog.text
        assert {name.split(".")[0] for name in found} == {"ckpt-3"}
        assert len(found) == (1 if spoil is os.remove else 2)
    assert os.path.basename(run.save(4)) == "ckpt-4"
    assert run.restore() == 4
    kept = {os.path.basename(p) for p in checkpoint_files.list_checkpoints(run.folder)}
    assert "ckpt-2" in kept and len(kept) == 2, "what cannot be read does not count as kept"


@pytest.mark.parametrize("content", [b"", b"\x00\xff garbage", b'model_checkpoint_path: "ckpt-9"'])
def test_a_spoilt_state_file_does_no_harm(run, content):
    with open(os.path.join(run.folder, "checkpoint"), "wb") as file:
        file.write(content)
    assert run.restore() == 3
    run.save(4)
    assert tf.train.latest_checkpoint(run.folder) == os.path.join(run.folder, "ckpt-4")


def _find_best(run):
    return RunDirectory(os.path.dirname(run.folder)).best_checkpoint


def _list_best(run):
    folder = _find_best(run)
    return folder, sorted(os.path.basename(p) for p in checkpoint_files.list_checkpoints(folder))


def _read_step(folder, name):
    reader = tf.train.load_checkpoint(os.path.join(folder, name))
    return int(reader.get_tensor("counters/step/.ATTRIBUTES/VARIABLE_VALUE"))


def test_the_best_checkpoint_outlives_the_others_and_is_one(run):
    run.store.keep_copy(_find_best(run))
    for number in (4, 5, 6):
        run.save(number)
    folder, names = _list_best(run)
    assert names == ["ckpt-3"] and _read_step(folder, "ckpt-3") == 3
    run.store.keep_copy(_find_best(run))
    folder, names = _list_best(run)
    assert names == ["ckpt-6"] and _read_step(folder, "ckpt-6") == 6
    assert len(os.listdir(folder)) == 3, "two files and the state"
    assert run.restore() == 6


def test_a_best_checkpoint_of_a_lower_number_takes_the_place_of_a_later_one(run):
    """As when a person put older checkpoints back."""
    run.store.keep_copy(_find_best(run))
    _truncate(_find(run, 3, "data"))
    assert run.restore() == 2
    run.store.keep_copy(_find_best(run))
    assert _list_best(run)[1] == ["ckpt-2"]


def test_a_failed_copy_leaves_the_best_before_and_says_so(run, monkeypatch):
    run.store.keep_copy(_find_best(run))
    run.save(4)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", fail)
        with pytest.raises(UserError, match="best_by_target_labels.*No space left on device"):
            run.store.keep_copy(_find_best(run))
    folder, names = _list_best(run)
    assert names == ["ckpt-3"] and _read_step(folder, "ckpt-3") == 3
    run.store.keep_copy(_find_best(run))
    assert _list_best(run)[1] == ["ckpt-4"]


def test_a_half_written_checkpoint_is_no_checkpoint(run):
    partial = os.path.join(run.folder, ".partial")
    os.makedirs(partial)
    for name in ("ckpt-4.index", "ckpt-4.data-00000-of-00001"):
        with open(os.path.join(partial, name), "wb") as file:
            file.write(b"torn")
    with open(os.path.join(run.folder, "ckpt-4.data-00000-of-00001"), "wb") as file:
        file.write(b"its index was not renamed any more")
    assert run.restore() == 3
    run.save(5)
    assert run.restore() == 5
    assert not os.path.exists(partial)
    assert not [name for name in os.listdir(run.folder) if name.startswith("ckpt-4")]


def test_no_readable_checkpoint_is_an_error_and_nothing_is_lost(run):
    for number in (2, 3):
        _truncate(_find(run, number, "data"))
    before = sorted(os.listdir(run.folder))
    with pytest.raises(UserError, match="None of the checkpoints.*--fresh"):
        run.restore()
    assert sorted(os.listdir(run.folder)) == before


def test_a_folder_without_checkpoints_starts_anew(tmp_path, model):
    store = CheckpointStore(str(tmp_path), model, model.optimizer, {})
    assert store.restore_latest() is None


def test_another_model_is_an_error(run, tmp_path):
    other = toys.make_model(with_modes=False)
    toys.compile_model(other, keras.optimizers.Adam(1e-3))
    with pytest.raises(UserError, match="another model or optimizer"):
        CheckpointStore(str(tmp_path), other, other.optimizer, {}).restore_latest()


def test_a_failed_write_leaves_the_checkpoints_before(run, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match="No space left on device"):
            run.save(4)
    assert run.restore() == 3
    run.save(5)
    assert run.restore() == 5


def test_non_finite_variables_are_named(run):
    assert run.store.list_non_finite() == []
    variable = run.model.trainable_variables[0]
    variable.assign(tf.fill(variable.shape, float("nan")))
    (name,) = run.store.list_non_finite()
    assert name.startswith("model/0000: ")


def test_every_variable_that_training_changes_is_saved(tmp_path):
    """Under float16, with an optimizer of the heads, a teacher and counters."""
    created = []

    def create(next_creator, **settings):
        created.append(next_creator(**settings))
        return created[-1]

    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        with tf.variable_creator_scope(create):
            model = toys.make_model(model_class=OnlineDrslModel)
            update = GradientUpdate(head_rate_factor=10.0)
            optimizer = keras.optimizers.Adam(1e-3)
            model.compile(optimizer=optimizer, gradient_update=update, jit_compile=False)
            model.train_step(toys.make_batch())
    finally:
        keras.mixed_precision.set_global_policy("float32")
    store = CheckpointStore(str(tmp_path), model, model.optimizer, {"step": tf.Variable(0)})
    groups = {"model", "optimizer", "head_optimizer", "extra", "counters"}
    assert store.variables.keys() == groups
    saved = [v for group in store.variables.values() for v in group.values()]
    assert len({id(v.handle) for v in saved}) == len(saved), "one variable under two names"
    known = {id(v.handle) for v in saved}
    missing = {v.name.split("/")[-1] for v in created if id(v.handle) not in known}
    # Means for display start again with every process; the counters that Keras 2's `fit` has in
    # every model bear no name, and nothing here moves them.
    assert missing <= {"total:0", "count:0", "counts:0", "Variable:0"}
    assert len(created) > len(model.variables) + 4 * len(model.head_variables)
    for scaled in (model.optimizer, update.head_optimizer):
        scale = next(v for v in created if float(tf.reduce_max(tf.cast(v, tf.float32))) == 2.0**15)
        assert compat.has_loss_scale(scaled) and id(scale.handle) in known
    path = store.save()
    stored = checkpoint_files.read_shapes(path)
    assert len(stored) == len(saved)
