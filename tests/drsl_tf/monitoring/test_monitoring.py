"""What a run shows while it trains: event files, the Projector's tables, panels."""

import csv
import io
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import cityscapes19
from drsl_tf import compat
from drsl_tf.config.configuration import Configuration
from drsl_tf.figures import label_maps
from drsl_tf.models.model import DrslModel
from drsl_tf.monitoring.callbacks import Monitoring
from drsl_tf.monitoring.panels import PanelWriter
from drsl_tf.monitoring.tensorboard import TensorBoardWriter
from drsl_tf.monitoring.tensorboard import read_hparams
from drsl_tf.networks.heads import linear_head
from drsl_tf.networks.heads import multimodal_head
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.optimization.stage_schedule import StageSchedule
from drsl_tf.runs import panel_files
from drsl_tf.self_training.online_model import OnlineDrslModel
from drsl_tf.self_training.schedule import Schedule
from tests.support import streets
from tests.support import tiny_network
from tests.support import toys
from tests.support import training
from tests.support.events import read_events

_SOURCE_STEPS, _ROUND_STEPS = 25, 4
_MODES = 2
_RATES = StageSchedule(
    source_rate=1e-3, source_steps=_SOURCE_STEPS, adaptation_rate=2e-4,
    steps_per_round=_ROUND_STEPS,
)  # fmt: skip


def _build_model(label_space):
    num_classes = label_space.num_classes
    head = multimodal_head.MultimodalHead(num_classes, _MODES, 8, hidden_units=(8,))
    return DrslModel(tiny_network.tiny_base(), linear_head.LinearHead(num_classes), head)


def _run(folder, run_dir, callbacks=(), **options):
    return training.train(
        run_dir,
        data=streets.make_data(streets.render_roots(folder, num_source=3)),
        schedule=Schedule(
            source_steps=_SOURCE_STEPS,
            rounds=1,
            steps_per_round=_ROUND_STEPS,
            checkpoint_every=15,
        ),
        build_model=_build_model,
        optimizer=lambda: keras.optimizers.Adam(_RATES),
        gradient_update=GradientUpdate(head_rate_factor=10.0),
        figure_images=2,
        mode_images=3,
        callbacks=callbacks,
        **options,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that broke off once, two logged steps past its checkpoint."""
    folder = tmp_path_factory.mktemp("watched")
    run_dir = folder / "run"
    run_dir.mkdir()
    (run_dir / "config.gin").write_text(Configuration(["demo.gin"]).format_text())
    with pytest.raises(KeyboardInterrupt):
        _run(folder, run_dir, [training.StopAfter(22)])
    return run_dir, _run(folder, run_dir, [_make_keras_writer(folder)]).as_dict()


def _make_keras_writer(folder):
    """Keras's own writer takes numbers alone."""
    return keras.callbacks.TensorBoard(str(folder / "keras"))


@pytest.fixture(scope="module")
def events(finished):
    return read_events(finished[0] / "tensorboard")


def test_losses_rates_and_speed_follow_the_steps_of_the_whole_run(events):
    scalars = events["scalars"]
    end = _SOURCE_STEPS + _ROUND_STEPS
    for tag in (
        "loss/total",
        "loss/ce_source",
        "loss/dml_source",
        "speed/images_per_second",
        "speed/data_wait_share",
        "learning_rate/base",
        "learning_rate/heads",
    ):
        # Step 20 was trained twice and is there once.
        assert [step for step, _ in scalars[tag]] == [10, 20, _SOURCE_STEPS, end], tag
        assert all(np.isfinite(value) for _, value in scalars[tag])
    for tag in ("loss/ce_target", "loss/dml_target", "loss/sma"):
        assert [step for step, _ in scalars[tag]] == [end], tag
    for name, factor in (("base", 1.0), ("heads", 10.0)):
        for step, rate in scalars[f"learning_rate/{name}"]:
            assert rate == pytest.approx(factor * float(_RATES(step - 1))), step


def test_scores_are_those_of_the_results(events, finished):
    scalars, stages = events["scalars"], finished[1]["stages"]
    ends = [_SOURCE_STEPS, _SOURCE_STEPS + _ROUND_STEPS]
    for name in cityscapes19().class_names:
        expected = [
            (end, s["iou"][name]) for end, s in zip(ends, stages) if s["iou"][name] is not None
        ]
        found = scalars.get(f"target_iou/{name}", [])
        assert [step for step, _ in found] == [step for step, _ in expected]
        np.testing.assert_allclose([v for _, v in found], [v for _, v in expected], rtol=1e-5)
    assert [float(v) for _, v in scalars["target/miou"]] == pytest.approx(
        [stage["miou"] for stage in stages]
    )
    report = stages[1]["pseudo_label"]
    assert scalars["pseudo_label/fraction"][0][1] == pytest.approx(report["fraction"])
    for key, group in (
        ("thresholds", "threshold"),
        ("fractions", "fraction"),
        ("accuracies", "accuracy"),
    ):
        for name, value in (report[key] or {}).items():
            found = scalars.get(f"pseudo_label_{group}/{name}")
            assert (found is None) == (value is None), (group, name)
            if value is not None:
                assert found[0][1] == pytest.approx(value)


def test_modes_are_told_apart_and_counted(events, finished):
    scalars = events["scalars"]
    for name in cityscapes19().class_names:
        smallest, mean = (scalars[f"mode_distance/{name}/{key}"] for key in ("smallest", "mean"))
        assert len(smallest) == 2
        for (_, low), (_, middle) in zip(smallest, mean):
            assert 0 <= low <= middle <= 2
        counts = finished[1]["stages"][1]["pseudo_label"]["mode_usage"][name]
        if sum(counts):
            shares = [scalars[f"mode_usage/{name}/{k}"][0][1] for k in range(_MODES)]
            assert shares == pytest.approx([count / sum(counts) for count in counts])


def test_panels_show_the_same_frames_after_every_stage(events, finished):
    ends = [_SOURCE_STEPS, _SOURCE_STEPS + _ROUND_STEPS]
    for frame in range(2):
        for panel in panel_files.PANELS:
            shown = events["images"][f"frame_{frame}/{panel}"]
            steps = ends[1:] if panel == "pseudo_label" else ends
            assert [step for step, _ in shown] == steps
            for _, (width, height, encoded) in shown:
                assert (int(width), int(height)) == (streets.SIZE[1], streets.SIZE[0])
                assert Image.open(io.BytesIO(encoded)).size == (streets.SIZE[1], streets.SIZE[0])
    index = json.loads((finished[0] / "panels" / "index.json").read_text())
    assert len(index["frames"]) == 2 and index["modes_per_class"] == _MODES
    # The panel's colours are those of the pseudo-label that was trained on.
    label = Image.open(finished[0] / "pseudo_labels" / "round_1" / (index["frames"][0] + ".png"))
    panel = Image.open(finished[0] / "panels" / "round_1" / "0_pseudo_label.png")
    painted = label_maps.color_label_map(np.asarray(label), cityscapes19())
    np.testing.assert_array_equal(np.asarray(panel), painted)


def test_the_labels_of_a_teacher_are_those_in_which_it_is_confident(tmp_path):
    data = streets.make_data(streets.render_roots(tmp_path, num_source=1))
    pair = data.target.list_pairs("train")[0]
    image = data.target.read_image(pair.image_path)[np.newaxis].astype(np.float32)

    def make_model(threshold):
        return toys.make_model(
            model_class=OnlineDrslModel, with_modes=False, num_classes=19, threshold=threshold
        )

    probabilities = tf.nn.softmax(make_model(0.0).teacher.predict_logits(image)).numpy()
    model = make_model(float(np.median(probabilities.max(-1))))
    writer = PanelWriter(str(tmp_path), data.target, [pair], tf.distribute.get_strategy())
    writer.set_model(model)
    writer.on_epoch_end(0)
    assert "frame_0/pseudo_label" not in writer.pictures
    writer.on_epoch_end(1)
    labels, confident = (array.numpy()[0] for array in model.label_images(image))
    painted = label_maps.color_label_map(np.where(confident, labels, 255), cityscapes19())
    np.testing.assert_array_equal(writer.pictures["frame_0/pseudo_label"], painted)
    assert 0 < confident.mean() < 1


def test_configuration_and_hparams_are_there(events, finished):
    ((step, text),) = {s: v for s, v in events["text"]["config.gin"]}.items()
    assert step == 0 and b"drsl_tf.MultimodalHead" in text.ravel()[0]
    assert "_hparams_/session_start_info" in events["hparams"]
    hparams = read_hparams(str(finished[0] / "config.gin"))
    assert isinstance(hparams["SOURCE_STEPS"], int) and hparams["EXPERIMENT"] == "demo"
    assert hparams["drsl_tf.Learner.optimizer"] == "@keras.optimizers.Adam"
    assert "drsl_tf.RunSettings.experiment" not in hparams  # A macro's name says nothing.


def test_projector_gets_modes_and_pixels_of_both_domains(finished):
    log_dir = finished[0] / "tensorboard"
    config = (log_dir / "projector_config.pbtxt").read_text()
    num_modes = 19 * _MODES
    for stage in (0, 1):
        assert f'"projector/round_{stage}/vectors.tsv"' in config
        folder = log_dir / "projector" / f"round_{stage}"
        vectors = np.loadtxt(folder / "vectors.tsv", delimiter="\t")
        with open(folder / "metadata.tsv", newline="") as file:
            header, *rows = csv.reader(file, delimiter="\t")
        assert header == ["class", "domain", "mode"] and len(rows) == len(vectors)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
        assert all(row[1] == "mode" for row in rows[:num_modes])
        assert {row[1] for row in rows[num_modes:]} == {"source", "target"}
        assert {row[0] for row in rows} == set(cityscapes19().class_names)
        # A target pixel bears the class whose mode it was given: the nearest of that class.
        for row, vector in list(zip(rows, vectors))[num_modes:]:
            if row[1] == "target":
                first = cityscapes19().class_names.index(row[0]) * _MODES
                cosines = vectors[first : first + _MODES] @ vector
                assert cosines[int(row[2])] >= cosines.max() - 1e-3


def test_modes_are_pictured_once_after_the_last_round(events, finished):
    """A picture for each class with pixels, in TensorBoard and as a file."""
    names = cityscapes19().class_names
    folder = finished[0] / "modes"
    shown = [name for index, name in enumerate(names) if (folder / f"{index}.png").exists()]
    assert "road" in shown and "building" in shown
    assert sorted(tag for tag in events["images"] if tag.startswith("modes/")) == sorted(
        f"modes/{name}" for name in shown
    )
    for name in shown:
        ((step, content),) = events["images"][f"modes/{name}"]
        assert step == _SOURCE_STEPS + _ROUND_STEPS
    road = Image.open(folder / "0.png")
    assert road.width > 500 and road.height > 2 * _MODES * 64


def test_a_stage_that_goes_back_drops_what_it_had_written(tmp_path):
    # Names of event files count all writers of a process: two digits sort before one.
    for _ in range(9):
        tf.summary.create_file_writer(str(tmp_path / "other")).close()
    writer = TensorBoardWriter(
        str(tmp_path), str(tmp_path), ["road"], lambda _: 10, lambda _: 4, list, {"seed": 0}
    )
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([])
    writer.set_model(
        types.SimpleNamespace(
            optimizer=optimizer, multimodal_head=None, gradient_update=GradientUpdate()
        )
    )

    def train(steps, loss):
        writer.on_epoch_begin(0)
        for step in steps:
            writer.on_train_batch_begin(step)
            wait = 0.0 if step % 2 else 1e6
            writer.on_train_batch_end(step, {"loss": loss, "data_wait_seconds": wait})

    train(range(8), 1.0)
    train(range(5, 10), 2.0)
    writer.on_epoch_end(0, {"miou": 50.0})
    writer.on_epoch_begin(1)
    scalars = read_events(tmp_path)["scalars"]
    losses = scalars["loss/total"]
    assert [(step, float(v)) for step, v in losses] == [
        (step, 1.0 if step <= 5 else 2.0) for step in range(1, 11)
    ]
    # A wait that is longer than the steps took counts as all of their time.
    assert {float(share) for _, share in scalars["speed/data_wait_share"]} == {0.0, 1.0}


@pytest.mark.parametrize("kind", ["keras", "loss scale", "addons"])
def test_the_rate_is_that_of_the_last_step(kind):
    module = keras.optimizers
    if kind == "addons":
        module = pytest.importorskip("tensorflow_addons").optimizers
    options = {"weight_decay": 1e-4} if kind == "addons" else {}
    optimizer = getattr(module, "AdamW" if kind == "addons" else "SGD")(
        learning_rate=_RATES, **options
    )
    if kind == "loss scale":
        wrappers = keras.optimizers if compat.KERAS_3 else keras.mixed_precision
        optimizer = wrappers.LossScaleOptimizer(optimizer)
    variable = tf.Variable([1.0])
    variable = keras.Variable([1.0]) if compat.KERAS_3 else variable
    compat.build_optimizer_slots(optimizer, [variable])
    for step in range(3):
        optimizer.apply_gradients([(tf.constant([1.0]), variable)])
        assert compat.read_learning_rate(optimizer) == pytest.approx(float(_RATES(step)))


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"figure_images": "a"}, "figure_images is 'a'"),
        ({"figure_images": -1}, "figure_images is -1"),
        ({"mode_images": -1}, "mode_images is -1"),
        ({"callbacks": 5}, "must be a list of Keras callbacks"),
        ({"callbacks": [keras.callbacks.Callback]}, "must be a list of Keras callbacks"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        Monitoring(**settings)
