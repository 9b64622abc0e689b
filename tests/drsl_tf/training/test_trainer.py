"""Whole runs on a handful of rendered scenes."""

import functools
import json
import os
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipelines.batches import adaptation
from data_pipelines.batches.adaptation import AdaptationData
from data_pipelines.batches.augment import Augmenter
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.domains.folder import Folder
from data_pipelines.domains.gta5 import Gta5
from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import cityscapes13
from drsl_tf import compat
from drsl_tf.distribution.strategy import create_strategy
from drsl_tf.models.inference import Inference
from drsl_tf.models.model import DrslModel
from drsl_tf.networks.heads import linear_head
from drsl_tf.networks.heads import multimodal_head
from drsl_tf.runs import checkpoint_files
from drsl_tf.runs import stored_weights
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training import target_statistics
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.self_training.target_statistics import TargetStatistics
from tests.support import data_sets
from tests.support import streets
from tests.support import tiny_network
from tests.support import toys
from tests.support import training
from tests.support.disk_log import DiskLog

# Between the confidences of an untrained model, about 1 / 19, and the 1 of an absent class.
_FLOOR = 0.5
_STEP = "counters/step/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Renders a source of 6 scenes and a target of 4 + 2."""
    return streets.render_roots(tmp_path_factory.mktemp("streets"), num_source=6)


class _Ask(keras.callbacks.Callback):
    """Asks the run to end, and counts its beginnings and ends."""

    def __init__(self, step=None, epoch=None):
        super().__init__()
        self._step, self._epoch = step, epoch
        self.told = []

    def on_train_begin(self, logs=None):
        self.told.append("begin")

    def on_train_end(self, logs=None):
        self.told.append("end")

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = self.model.stop_training or batch + 1 == self._step

    def on_epoch_end(self, epoch, logs=None):
        self.told.append(epoch)
        self.model.stop_training = epoch == self._epoch


class _Keep(keras.callbacks.Callback):
    """Holds on to the model and to its weights after every stage, to compare runs by them."""

    def __init__(self):
        super().__init__()
        self.stages = {}

    def on_epoch_end(self, epoch, logs=None):
        self.stages[epoch] = [compat.as_tf_variable(v).numpy() for v in self.model.variables]


def _build_model(label_space, **settings):
    num_classes = label_space.num_classes
    head = multimodal_head.MultimodalHead(num_classes, 2, 8, hidden_units=(8,))
    base = tiny_network.tiny_base()
    return DrslModel(base, linear_head.LinearHead(num_classes), head, **settings)


def _run(roots, run_dir, callbacks=(), rounds=2, adaptation_steps=3, **options):
    keep = _Keep()
    options.setdefault("build_model", _build_model)
    results = training.train(
        run_dir,
        data=streets.make_data(roots, scale=(0.8, 1.2)),
        schedule=Schedule(
            source_steps=5, rounds=rounds, steps_per_round=adaptation_steps, checkpoint_every=2
        ),
        optimizer=lambda: keras.optimizers.Adam(1e-3),
        callbacks=[keep, *callbacks],
        **options,
    )
    if not results.stages:
        return results, keep.model
    _assert_kept(
        run_dir, "source", RunDirectory(str(run_dir)).source_checkpoint, keep.stages.get(0, [])
    )
    if results.best_round is None:
        assert not os.path.exists(RunDirectory(str(run_dir)).best_checkpoint)
    else:
        weights = keep.stages.get(results.best_round, [])
        _assert_kept(run_dir, "best", RunDirectory(str(run_dir)).best_checkpoint, weights)
    return results, keep.model


def _assert_kept(run_dir, choice, folder, weights):
    """Checks that the weights of a stage lie on disk, if this process saw them."""
    path = stored_weights.find_checkpoint(str(run_dir), choice)
    assert os.path.dirname(path) == folder
    reader = tf.train.load_checkpoint(path)
    for index, array in enumerate(weights):
        stored = reader.get_tensor(f"model/{index:04d}/.ATTRIBUTES/VARIABLE_VALUE")
        np.testing.assert_array_equal(stored, array)


@pytest.fixture(scope="module")
def early_stopping():
    """Patient enough for the last round alone, as no loss falls by 100."""
    return keras.callbacks.EarlyStopping("ce_source", min_delta=100, mode="min", patience=2)


@pytest.fixture(scope="module")
def finished(roots, tmp_path_factory, early_stopping):
    """Runs once for the tests that only look."""
    run_dir = tmp_path_factory.mktemp("run")
    with DiskLog() as log:
        results, model = _run(roots, run_dir, [early_stopping])
    unsafe = log.list_unsafe(run_dir)
    assert {path for path in unsafe if "/tensorboard/events" not in path} == set()
    return run_dir, results, model


def test_results_follow_the_schema(finished):
    run_dir, results, _ = finished
    content = json.loads((run_dir / "results.json").read_text())
    assert content == json.loads(json.dumps(results.as_dict()))
    assert content["schema"] == 1 and content["experiment"] == "test" and content["seed"] == 0
    assert [stage["round"] for stage in content["stages"]] == [0, 1, 2]
    assert content["stages"][0]["pseudo_label"] is None
    for stage in content["stages"]:
        ious = [value for value in stage["iou"].values() if value is not None]
        assert len(stage["iou"]) == 19
        np.testing.assert_allclose(stage["miou"], np.mean(ious))
        assert stage["seconds"] > 0
    assert [stage["steps"] for stage in content["stages"]] == [5, 3, 3]
    points = content["stages"][2]["miou"] - content["stages"][0]["miou"]
    assert content["verdict"]["points"] == pytest.approx(points)
    assert content["last"]["round"] == 2
    assert content["best"]["miou"] == max(stage["miou"] for stage in content["stages"])
    assert set(content["protocols"]) == {"19", "16", "13"}


def test_pseudo_labels_bear_the_images_names_and_their_own_statistics(finished, roots):
    run_dir, _, _ = finished
    target = Cityscapes(root=roots[1])
    pixels = 4 * streets.SIZE[0] * streets.SIZE[1]
    for round_index, portion in ((1, 0.20), (2, 0.25)):
        folder = run_dir / "pseudo_labels" / f"round_{round_index}"
        report = json.loads((folder / "report.json").read_text())
        assert report["portion"] == pytest.approx(portion)
        selected, known, right = 0, 0, 0
        for pair in target.list_pairs("train"):
            label = np.asarray(Image.open(folder / (pair.name + ".png")))
            assert label.shape == streets.SIZE and label.dtype == np.uint8
            truth = target.read_label(pair.label_path)
            selected += (label != 255).sum()
            known += ((label != 255) & (truth != 255)).sum()
            right += ((label != 255) & (truth == label)).sum()
        assert report["fraction"] == pytest.approx(selected / pixels)
        assert report["accuracy"] == pytest.approx(right / known)
        assert np.sum(list(report["mode_usage"].values())) == pixels / 64
        left = {name for name in os.listdir(folder) if os.path.isfile(folder / name)}
        assert left == {"report.json"}


@pytest.mark.slow
def test_pseudo_labels_of_another_size_than_the_images(roots, tmp_path):
    size = (streets.SIZE[0] // 2, streets.SIZE[1] // 2)
    results, _ = _run(roots, tmp_path / "run", rounds=1, inference=Inference(size))
    assert [stage.round for stage in results.stages] == [0, 1]
    pair = Cityscapes(root=roots[1]).list_pairs("train")[0]
    label = Image.open(tmp_path / "run" / "pseudo_labels" / "round_1" / f"{pair.name}.png")
    assert label.size == size[::-1]


def test_what_a_run_keeps_on_the_disk_is_bounded(finished):
    run_dir, _, _ = finished
    checkpoints = sorted(os.listdir(run_dir / "checkpoints"))
    assert len(checkpoints) == 5, "two checkpoints of two files each, and the list of them"
    (path,) = {name.split(".")[0] for name in checkpoints[1:3]}
    shapes = tf.train.load_checkpoint(run_dir / "checkpoints" / path).get_variable_to_shape_map()
    counters = {key.split("/")[1] for key in shapes if key.startswith("counters/")}
    assert counters == {"round", "step", "retry", "seconds"}
    # The logits that a round keeps between its two passes are gone; a label map an image is left.
    assert sorted(os.listdir(run_dir / "pseudo_labels")) == ["round_1", "round_2"]
    left = [path for path in (run_dir / "pseudo_labels").rglob("*") if path.is_file()]
    assert len(left) == 2 * (4 + 1)
    assert not [path for path in run_dir.rglob("*") if path.name.endswith(".partial")]


def test_the_figure_shows_every_panel(finished):
    run_dir, _, _ = finished
    with Image.open(run_dir / "figure.png") as figure:
        assert figure.width > 4 * 320


def test_a_broken_run_resumes_to_the_same_end(finished, roots, tmp_path):
    _, whole, model = finished
    for after in (3, 4):  # Within the source stage, then within round 1.
        with pytest.raises(KeyboardInterrupt):
            _run(roots, tmp_path, [training.StopAfter(after + 1)])
    results, resumed = _run(roots, tmp_path)
    for stage, other in zip(results.stages, whole.stages, strict=True):
        assert stage.iou == pytest.approx(other.iou, abs=0.5)
    for array, other in zip(model.get_weights(), resumed.get_weights()):
        np.testing.assert_allclose(array, other, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("rounds, steps", [(2, 3), (1, 0)])
def test_the_last_and_best_weights_have_the_targets_statistics(roots, tmp_path, rounds, steps):
    results, model = _run(
        roots,
        tmp_path,
        rounds=rounds,
        adaptation_steps=steps,
        target_statistics=TargetStatistics(),
    )
    assert len(results.stages) == rounds + 1
    reader = tf.train.load_checkpoint(stored_weights.find_checkpoint(str(tmp_path)))
    for index, variable in enumerate(model.variables):
        stored = reader.get_tensor(f"model/{index:04d}/.ATTRIBUTES/VARIABLE_VALUE")
        np.testing.assert_array_equal(stored, compat.as_tf_variable(variable).numpy())
    target = streets.make_data(roots).target
    twin = _build_model(target.label_space)
    twin.set_weights(model.get_weights())
    strategy = tf.distribute.get_strategy()
    TargetStatistics().update(twin, strategy, target, target.list_pairs("train"))
    for array, other in zip(model.get_weights(), twin.get_weights()):
        np.testing.assert_array_equal(array, other)


class _BreakRoundOne(keras.callbacks.Callback):
    """Breaks the first run off where round 1 starts, and keeps what its statistics are there."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            variables = target_statistics.list_statistics(self.model)
            self.found.append([variable.numpy() for variable in variables])
            if len(self.found) == 1:
                raise KeyboardInterrupt


@pytest.mark.slow
def test_the_sources_statistics_are_mixed_in_once(roots, tmp_path):
    """Not again where the run resumes, nor after a round that did not change them."""
    statistics = TargetStatistics(prior_images=4)
    watch = _BreakRoundOne()

    def run():
        build = functools.partial(_build_model, freeze_statistics=True)
        settings = {"target_statistics": statistics, "build_model": build}
        return _run(roots, tmp_path, [watch], rounds=1, adaptation_steps=1, **settings)[1]

    with pytest.raises(KeyboardInterrupt):
        run()
    model = run()
    for array, again in zip(*watch.found):
        np.testing.assert_array_equal(array, again)
    target = streets.make_data(roots).target
    twin = _build_model(target.label_space)
    twin.set_weights(model.get_weights())
    source = stored_weights.find_checkpoint(str(tmp_path), "source")
    stored_weights.restore_variables(twin, source, target_statistics.list_statistics(twin))
    strategy = tf.distribute.get_strategy()
    statistics.update(twin, strategy, target, target.list_pairs("train"))
    for array, other in zip(model.get_weights(), twin.get_weights()):
        np.testing.assert_array_equal(array, other)


@pytest.mark.slow
def test_a_callback_can_stop_the_run_within_a_stage_and_after_one(roots, tmp_path):
    within = _Ask(step=3)
    results, _ = _run(roots, tmp_path, [within], rounds=1)
    assert within.told == ["begin", "end"] and results.stages == []
    path, _ = checkpoint_files.list_checkpoints(RunDirectory(str(tmp_path)).checkpoints)
    assert tf.train.load_checkpoint(path).get_tensor(_STEP) == 3
    after = _Ask(epoch=0)
    results, _ = _run(roots, tmp_path, [after], rounds=1)
    assert after.told == ["begin", 0, "end"]
    assert [stage.round for stage in results.stages] == [0]
    assert not os.path.exists(RunDirectory(str(tmp_path)).figure)
    _run(roots, tmp_path, [_Ask(epoch=1)], rounds=1)
    assert os.path.exists(RunDirectory(str(tmp_path)).figure)


def test_early_stopping_counts_the_stages_and_stops(finished, early_stopping):
    _, results, model = finished
    assert early_stopping.stopped_epoch == results.stages[-1].round == 2
    assert early_stopping.best > 0 and model.stop_training


class _Interrupt(keras.callbacks.Callback):
    """Presses Ctrl-C after the third step."""

    def __init__(self, times):
        super().__init__()
        self._times = times

    def on_train_batch_end(self, batch, logs=None):
        for _ in range(self._times if batch == 2 else 0):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("times, saved", [(1, 3), (2, 2)])
def test_ctrl_c_saves_the_step_and_a_second_one_ends_at_once(roots, tmp_path, times, saved, caplog):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), caplog.at_level("WARNING"):
            _run(roots, tmp_path, [_Interrupt(times)], rounds=1)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, previous)
    path, _ = checkpoint_files.list_checkpoints(RunDirectory(str(tmp_path)).checkpoints)
    assert tf.train.load_checkpoint(path).get_tensor(_STEP) == saved
    assert ("Run the same command again" in caplog.text) == (times == 1)


@pytest.mark.slow
def test_a_run_stopped_while_the_best_is_copied_resumes(finished, roots, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", stop)
        with pytest.raises(KeyboardInterrupt):
            _run(roots, tmp_path)
    assert checkpoint_files.list_checkpoints(RunDirectory(str(tmp_path)).best_checkpoint) == []
    results, _ = _run(roots, tmp_path)
    assert results.best_round == finished[1].best_round


def test_a_best_checkpoint_of_another_round_than_the_record_says_is_refused(finished, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(finished[0], run_dir)
    record = json.loads((run_dir / "results.json").read_text())
    best = record["best"]["round"]
    other = next(stage for stage in record["stages"] if stage["round"] != best)
    other["miou"] = 99.0
    (run_dir / "results.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="is of round"):
        stored_weights.find_checkpoint(str(run_dir), "best")
    shutil.rmtree(RunDirectory(str(run_dir)).best_checkpoint)
    with pytest.raises(UserError, match="holds no best checkpoint"):
        stored_weights.find_checkpoint(str(run_dir), "best")


def test_labels_of_the_target_teach_nothing(finished, roots, tmp_path):
    _, _, model = finished
    camera = str(tmp_path / "camera")
    shutil.copytree(roots[1], camera)
    for pair in Cityscapes(root=camera).list_pairs("train"):
        Image.fromarray(np.full(streets.SIZE, 7, np.uint8)).save(pair.label_path)
    results, other = _run((roots[0], camera), tmp_path / "run")
    for array, twin in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_allclose(array, twin, atol=1e-4)
    assert results.stages[1].pseudo_label.accuracy != pytest.approx(
        finished[1].stages[1].pseudo_label.accuracy
    )


def test_a_target_without_labels_adapts_unscored(roots, tmp_path):
    camera = str(tmp_path / "camera")
    shutil.copytree(roots[1], camera)
    shutil.rmtree(os.path.join(camera, "gtFine"))
    for monitor in ("miou", "gradient_norm"):
        with pytest.raises(UserError, match=f"'{monitor}', which cannot be monitored"):
            early = keras.callbacks.EarlyStopping(monitor, mode="max")
            _run((roots[0], camera), tmp_path / "run", [early])
    results, _ = _run((roots[0], camera), tmp_path / "run", rounds=1)
    content = results.as_dict()
    assert [stage["miou"] for stage in content["stages"]] == [None, None]
    assert content["best"] is None
    assert content["stages"][1]["pseudo_label"]["accuracy"] is None
    assert content["stages"][1]["pseudo_label"]["fraction"] > 0


def test_domains_must_share_a_label_space(roots):
    augmenter = Augmenter(size=streets.SIZE)
    with pytest.raises(UserError, match="19 classes.*13 classes"):
        AdaptationData(
            source=Gta5(root=roots[0]),
            target=Cityscapes(root=roots[1], label_space=cityscapes13()),
            source_augmenter=augmenter,
            target_augmenter=augmenter,
        )


def test_portion_grows_to_its_limit():
    labeler = PseudoLabeler(portion=0.2, portion_step=0.2, portion_limit=0.5)
    assert [labeler.compute_portion(r) for r in (1, 2, 3, 4)] == pytest.approx([0.2, 0.4, 0.5, 0.5])
    with pytest.raises(UserError, match="portion_limit"):
        PseudoLabeler(portion=0.6)


def test_the_floor_bounds_every_threshold(roots, tmp_path):
    target = Cityscapes(root=roots[1])
    strategy = create_strategy()
    with strategy.scope():
        model = _build_model(target.label_space)
    reports = {}
    for floor in (0.0, _FLOOR):
        _, reports[floor] = PseudoLabeler(confidence_floor=floor).generate(
            model,
            strategy,
            target,
            target.list_pairs("train"),
            round_index=1,
            directory=str(tmp_path / str(floor)),
        )
    free, floored = (list(reports[floor].thresholds.values()) for floor in (0.0, _FLOOR))
    assert floored == [max(threshold, _FLOOR) for threshold in free]
    assert min(free) < _FLOOR < max(free)
    assert reports[_FLOOR].fraction < reports[0.0].fraction


def test_thresholds_of_a_sample_label_all_images_in_one_pass(roots, tmp_path):
    target = Cityscapes(root=roots[1])
    pairs = target.list_pairs("train")
    strategy = create_strategy()
    with strategy.scope():
        model = _build_model(target.label_space)

    def label(name, count, listed=pairs, **options):
        return PseudoLabeler(threshold_images=count, **options).generate(
            model,
            strategy,
            target,
            listed,
            round_index=1,
            directory=str(tmp_path / name),
            inference=Inference(batch_size=2),
        )

    labelled, whole = label("none", None)
    sampled, same = label("all", len(pairs) + 5)
    assert same == whole and os.listdir(tmp_path / "all") == os.listdir(tmp_path / "none")
    for one, other in zip(labelled, sampled):
        with open(one.label_path, "rb") as left, open(other.label_path, "rb") as right:
            assert left.read() == right.read()
    # The thresholds of two images are those of a round over these two alone.
    _, two = label("two", 2)
    chosen = [
        pairs[place] for place in sorted(np.random.default_rng(1).choice(len(pairs), 2, False))
    ]
    _, alone = label("alone", None, chosen)
    assert two.thresholds == alone.thresholds
    assert two.mode_usage == alone.mode_usage != whole.mode_usage
    assert sum(two.pixels.values()) > sum(alone.pixels.values())
    with pytest.raises(UserError, match="threshold_images is 0"):
        PseudoLabeler(threshold_images=0)


@pytest.mark.parametrize("flip", [False, True])
def test_labels_with_flip_are_those_of_the_mirrored_image(tmp_path, flip):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (4, 5, 3), np.uint8).repeat(8, axis=0).repeat(16, axis=1)
    for name, pixels in (("a", image), ("b", image[:, ::-1])):
        data_sets.write_image(str(tmp_path / "images" / f"{name}.png"), pixels)
    domain = Folder(root=str(tmp_path), class_names=list("abcde"), splits={"train": ""})
    labeler = PseudoLabeler(portion=1.0, portion_limit=1.0, rule="argmax", flip=flip, size=(32, 64))
    pairs, _ = labeler.generate(
        toys.make_model(),
        create_strategy(),
        domain,
        domain.list_pairs("train"),
        round_index=1,
        directory=str(tmp_path / "labels"),
        inference=Inference(size=(96, 96)),
    )
    labels = [adaptation.read_id_map(pair.label_path) for pair in pairs]
    assert labels[0].shape == (32, 64)
    assert len(np.unique(labels[0])) > 1
    assert (np.mean(labels[0] == labels[1][:, ::-1]) > 0.999) == flip


def test_a_source_checkpoint_that_is_absent_or_of_a_round_is_refused(finished, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(finished[0], run_dir)
    shutil.rmtree(RunDirectory(str(run_dir)).source_checkpoint)
    with pytest.raises(UserError, match="source_stage holds no checkpoint"):
        stored_weights.find_checkpoint(str(run_dir), "source")
    shutil.copytree(run_dir / "checkpoints", RunDirectory(str(run_dir)).source_checkpoint)
    with pytest.raises(UserError, match="is of round 3, not of the source stage"):
        stored_weights.find_checkpoint(str(run_dir), "source")
