"""Runs that start from the weights of another run."""

import json
import os
import shutil

import keras
import numpy as np
import pytest

from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from data_pipelines.labels.label_spaces import cityscapes19
from drsl_tf.models.model import DrslModel
from drsl_tf.networks.heads import deeplab_v2_head
from drsl_tf.networks.heads import linear_head
from drsl_tf.networks.heads import multimodal_head
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.runs import panel_files
from drsl_tf.runs import stored_weights
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.self_training.online_model import OnlineDrslModel
from drsl_tf.self_training.schedule import Schedule
from tests.support import streets
from tests.support import tiny_network
from tests.support import toys
from tests.support import training


class _Watch(keras.callbacks.Callback):
    """Keeps the network's weights before the first step, and breaks the run off at a step."""

    def __init__(self, stop=None):
        super().__init__()
        self._stop = stop
        self.first = None

    def on_train_batch_begin(self, batch, logs=None):
        if self.first is None:
            self.first = _list_weights(self.model)
        if self._stop == batch:
            raise KeyboardInterrupt


def _list_weights(model):
    return model.base.get_weights() + model.segmentation_head.get_weights()


def _are_equal(weights, others):
    return all(np.array_equal(array, other) for array, other in zip(weights, others))


def _build_model(label_space, with_modes=True, width=8):
    num_classes = label_space.num_classes
    head = multimodal_head.MultimodalHead(num_classes, 2, 8, hidden_units=(8,))
    base = tiny_network.tiny_base(width=width)
    linear = linear_head.LinearHead(num_classes)
    return DrslModel(base, linear, head if with_modes else None)


def _run(
    roots, run_dir, watch, *, source_steps=0, rounds=1, model=_build_model, data=None, **options
):
    return training.train(
        run_dir,
        data=data or streets.make_data(roots),
        schedule=Schedule(
            source_steps=source_steps, rounds=rounds, steps_per_round=4, checkpoint_every=2
        ),
        build_model=model,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        callbacks=[watch],
        tensorboard=False,
        **options,
    )


def _build_plain(label_space):
    return _build_model(label_space, with_modes=False)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Renders a source of 4 scenes and a target of 4 + 2."""
    return streets.render_roots(tmp_path_factory.mktemp("streets"), num_source=4)


@pytest.fixture(scope="module")
def source_run(roots, tmp_path_factory):
    """A source-only run without a multi-modal head: its directory, weights and score."""
    run_dir = tmp_path_factory.mktemp("source")
    watch = _Watch()
    results = _run(roots, run_dir, watch, source_steps=6, rounds=0, model=_build_plain)
    return str(run_dir), watch.model, results.stages[0].miou


@pytest.mark.slow
def test_the_rounds_alone_start_from_a_source_only_run(source_run, roots, tmp_path):
    run_dir, source, score = source_run
    watch = _Watch(stop=3)
    with pytest.raises(KeyboardInterrupt):
        _run(roots, tmp_path, watch, initial_run=run_dir)
    assert _are_equal(watch.first, _list_weights(source))
    assert not _are_equal(_list_weights(watch.model), _list_weights(source))

    # It resumes from its own checkpoint, not from the other run's.
    watch = _Watch()
    results = _run(roots, tmp_path, watch, initial_run=run_dir)
    assert not _are_equal(watch.first, _list_weights(source))
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["initial_run"] == run_dir
    assert results.stages[0].miou == pytest.approx(score, abs=0.01)
    assert [stage.round for stage in results.stages] == [0, 1]
    # Panels are written without TensorBoard's files, too.
    assert not (tmp_path / "tensorboard").exists()
    found = panel_files.list_panels(str(tmp_path), frame=0, round_index=1)
    assert tuple(found) == panel_files.PANELS


def _build_teacher(label_space):
    plain = _build_plain(label_space)
    return OnlineDrslModel(
        plain.base, plain.segmentation_head, threshold=0.0, mix_classes=True, mask_weight=1.0
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, unused", [(_build_model, "sma_weight"), (_build_teacher, "mix_classes")]
)
def test_adaptation_without_a_source_trains_on_the_target_alone(
    source_run, roots, tmp_path, model, unused, caplog
):
    terms = {}

    class Terms(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            terms.update(logs)
            # A mean teacher does not forget the initial run in its first steps.
            assert self.model.starts_trained

    results = _run(
        roots,
        tmp_path,
        Terms(),
        model=model,
        data=streets.make_data((str(tmp_path / "absent"), roots[1]), source_free=True),
        initial_run=source_run[0],
        gradient_update=GradientUpdate(micro_batches=2),
    )
    assert [stage.round for stage in results.stages] == [0, 1]
    assert results.stages[0].miou == pytest.approx(source_run[2], abs=0.01)
    assert f"have no effect: {unused}." in caplog.text
    assert terms["ce_source"] == 0 and terms["ce_target"] > 0
    assert terms.get("sma", 0) == terms.get("dml_source", 0) == 0


def test_without_a_source_there_is_no_source_stage(source_run, roots, tmp_path):
    data = streets.make_data(roots, source_free=True)
    for options in ({}, {"initial_run": source_run[0], "source_steps": 1}):
        with pytest.raises(UserError, match="initial_run .* Schedule.source_steps to 0"):
            _run(roots, tmp_path / "run", _Watch(), data=data, **options)
    assert not os.path.exists(tmp_path / "run")


def test_a_run_with_the_same_heads_gives_the_modes_too(tmp_path):
    optimizer = keras.optimizers.SGD(0.1)
    source = _build_model(cityscapes19())
    toys.compile_model(source, optimizer)
    CheckpointStore(str(tmp_path), source, optimizer, {}).save()
    model = _build_model(cityscapes19())
    head = model.multimodal_head
    head.set_weights([-array for array in head.get_weights()])
    # Other loss terms are no other model.
    model = DrslModel(model.base, model.segmentation_head, head, sma_weight=0.0)
    names = cityscapes19().class_names
    stored_weights.start_from(model, str(tmp_path), names, trains_head=False)
    assert _are_equal(_list_weights(model), _list_weights(source))
    assert _are_equal(head.get_weights(), source.multimodal_head.get_weights())


def test_a_teacher_starts_as_the_equal_of_the_weights(source_run):
    run_dir, source, _ = source_run
    keras.utils.set_random_seed(1)
    model = OnlineDrslModel(tiny_network.tiny_base(), linear_head.LinearHead(source.num_classes))
    images = np.asarray(toys.make_batch(size=(32, 64))["source"]["image"])
    before = model.teacher.predict_logits(images)
    names = cityscapes19().class_names
    stored_weights.start_from(model, run_dir, names, trains_head=False)
    after = model.teacher.predict_logits(images)
    assert np.abs(after - before).max() > 1e-3
    teacher = OnlineDrslModel(source.base, source.segmentation_head).teacher
    np.testing.assert_allclose(after, teacher.predict_logits(images), atol=1e-6)


def test_modes_that_correct_labels_are_trained_somewhere(source_run):
    run_dir, source, _ = source_run
    model = OnlineDrslModel(
        source.base,
        source.segmentation_head,
        multimodal_head.MultimodalHead(source.num_classes, 5, 8, hidden_units=(8,)),
        mode_label_weight=1.0,
    )
    names = cityscapes19().class_names
    with pytest.raises(UserError, match="modes would correct labels.*mode_label_weight = 0.0"):
        stored_weights.start_from(model, run_dir, names, trains_head=False)
    stored_weights.start_from(model, run_dir, names, trains_head=True)


def test_what_cannot_be_started_from_is_refused(source_run, roots, tmp_path):
    run_dir, _, _ = source_run
    with pytest.raises(UserError, match="RunSettings.initial_run cannot be used.*no checkpoint"):
        _run(roots, tmp_path / "a", _Watch(), initial_run=str(tmp_path / "nowhere"))
    assert not os.path.exists(tmp_path / "a" / "checkpoints")

    def build_wide(label_space):
        return _build_model(label_space, width=16)

    with pytest.raises(UserError, match="another model.*networks and the classes"):
        _run(roots, tmp_path / "b", _Watch(), initial_run=run_dir, model=build_wide)


@pytest.mark.parametrize("num_classes", [5, 19])
def test_a_run_with_other_classes_gives_its_base_network(source_run, caplog, num_classes):
    run_dir, source, _ = source_run
    names = [f"class {index}" for index in range(num_classes)]
    model = _build_model(label_spaces.custom(name="other", class_names=names))
    head = model.segmentation_head.get_weights() + model.multimodal_head.get_weights()
    with pytest.raises(UserError, match="other classes .road, sidewalk, .*source_steps above 0"):
        stored_weights.start_from(model, run_dir, names, trains_head=False)
    assert not _are_equal(model.base.get_weights(), source.base.get_weights())
    with caplog.at_level("INFO", logger="absl"):
        stored_weights.start_from(model, run_dir, names)
    assert "segmentation head keeps its initial weights, as it was trained on" in caplog.text
    assert _are_equal(model.base.get_weights(), source.base.get_weights())
    left = model.segmentation_head.get_weights() + model.multimodal_head.get_weights()
    assert _are_equal(left, head)


def test_the_scores_name_the_classes_of_a_run_without_a_record(source_run, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(source_run[0], run_dir)
    os.remove(run_dir / "data.json")
    names = [f"class {index}" for index in range(19)]
    model = _build_model(label_spaces.custom(name="other", class_names=names))
    with pytest.raises(UserError, match="other classes .road, sidewalk, "):
        stored_weights.start_from(model, str(run_dir), names, trains_head=False)


def test_a_run_with_another_head_gives_its_base_network(source_run, caplog):
    run_dir, source, _ = source_run
    base = tiny_network.tiny_base()
    model = DrslModel(base, deeplab_v2_head.DeepLabV2Head(source.num_classes))
    with caplog.at_level("INFO", logger="absl"):
        stored_weights.start_from(model, run_dir, cityscapes19().class_names)
    assert "segmentation head keeps its initial weights, as it differs" in caplog.text
    assert _are_equal(base.get_weights(), source.base.get_weights())
