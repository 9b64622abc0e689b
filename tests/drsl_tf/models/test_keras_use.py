"""The model as a Keras model: `compile`, `fit`, `evaluate`, `export`, and labels of images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf import compat
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.models import inference
from drsl_tf.models import mean_iou
from drsl_tf.models.model import DrslModel
from tests.support import naive
from tests.support import toys


def _make_arrays(count=5, seed=0):
    half = toys.make_batch(num_source=count, seed=seed)["source"]
    return half["image"].numpy(), half["label"].numpy()


def _score(model, images, labels):
    """Mean cross-entropy and mean IoU of all pixels, by oracles."""
    logits = inference.predict_full_size_logits(model, images).numpy()
    confusion = ConfusionMatrix(toys.NUM_CLASSES)
    confusion.update(labels, logits.argmax(axis=-1))
    total, count, _ = naive.cross_entropy_loss(logits, labels)
    return total / count, confusion.mean_iou()


class _Steps(keras.callbacks.Callback):
    """Keeps the logs of every step."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append(dict(logs))


@pytest.fixture(scope="module")
def fitted():
    """Trains on arrays with validation, at a rate of 0, until `EarlyStopping` stops it."""
    model = toys.make_model(with_modes=False, batch_norm_training=False)
    model.compile(keras.optimizers.SGD(0.0))
    steps, images_and_labels = _Steps(), _make_arrays()
    images, labels = images_and_labels
    stopping = keras.callbacks.EarlyStopping(monitor="val_miou", mode="max", patience=1)
    history = model.fit(
        images,
        labels[..., np.newaxis],
        batch_size=2,
        epochs=5,
        validation_data=images_and_labels,
        validation_batch_size=2,
        callbacks=[stopping, steps],
        verbose=0,
    )
    return model, images_and_labels, history.history, steps.logs


def test_fit_on_arrays_is_scored_by_mean_iou_and_stops_early(fitted):
    model, data, history, _ = fitted
    loss, miou = _score(model, *data)
    assert 0 < miou < 1
    # No weight changes, so the second epoch is no better than the first.
    np.testing.assert_allclose(history["val_loss"], [loss] * 2, rtol=1e-5)
    np.testing.assert_allclose(history["val_miou"], [miou] * 2, rtol=1e-5)


def test_the_history_has_the_means_of_the_epochs(fitted):
    _, _, history, logs = fitted
    assert set(history) == {*logs[0], "val_loss", "val_miou"} and len(logs) == 6
    for name in ("loss", "gradient_norm"):
        values = np.reshape([step[name] for step in logs], (2, 3))
        assert np.ptp(values[0]) > 1e-3
        np.testing.assert_allclose(history[name], values.mean(axis=1), rtol=1e-5)


def test_evaluate_scores_every_form_of_labelled_batches(fitted):
    model, (images, labels), history, _ = fitted
    expected = {"loss": history["val_loss"][0], "miou": history["val_miou"][0]}
    halves = [{"image": images[part], "label": labels[part]} for part in (slice(0, 3), slice(3, 5))]
    both = tf.data.Dataset.from_tensors(dict(zip(("source", "target"), halves)))
    scores = model.evaluate(both, verbose=0, return_dict=True)
    assert scores == pytest.approx(expected, rel=1e-5)
    half = tf.data.Dataset.from_tensors({"image": images, "label": labels})
    assert model.evaluate(half, verbose=0) == pytest.approx([*expected.values()], rel=1e-5)


def test_mean_iou_is_that_of_the_confusion_matrix():
    rng = np.random.default_rng(0)
    metric, confusion = mean_iou.MeanIou(6), ConfusionMatrix(6)
    assert float(metric.result()) == 0
    for _ in range(20):
        size = (2, *rng.integers(1, 6, 2))
        logits = rng.normal(size=(*size, 6)).astype(np.float32)
        logits[..., 4:] -= 99  # Some classes are neither present nor predicted.
        labels = rng.choice([0, 1, 2, 255], size).astype(np.int32)
        metric.update_state(mean_iou.count_pairs(tf.constant(logits), tf.constant(labels)))
        confusion.update(labels, logits.argmax(axis=-1))
        if not np.isnan(confusion.mean_iou()):
            assert float(metric.result()) == pytest.approx(confusion.mean_iou(), abs=1e-6)
    assert confusion.num_present < 6
    metric.reset_state()
    assert float(metric.result()) == 0


def test_pairs_train_the_step_of_the_source_alone():
    images, labels = _make_arrays()
    halves = {"source": {"image": images, "label": labels}}
    empty = {
        "image": np.zeros((0, 32, 64, 3), np.float32),
        "label": np.zeros((0, 32, 64), np.int32),
    }
    logs = []
    for data in ((images, labels), {**halves, "target": empty}):
        model = toys.make_model()
        toys.compile_model(model, keras.optimizers.SGD(0.1))
        logs.append({name: float(value) for name, value in model.train_step(data).items()})
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)
    assert logs[0]["ce_source"] > 0 and logs[0]["ce_target"] == 0


@pytest.mark.parametrize("class_weights", [{0: 3.0, 2: 0.0}, [3.0, 1.0, 0.0, 1.0, 1.0]])
def test_class_weights_multiply_the_cross_entropy_of_the_source(class_weights):
    batch = toys.make_batch()
    source = {key: value.numpy() for key, value in batch["source"].items()}
    model = toys.make_model(
        with_modes=False, batch_norm_training=False, class_weights=class_weights
    )
    toys.compile_model(model, keras.optimizers.SGD(0.0))
    logits = inference.predict_full_size_logits(model, source["image"]).numpy()
    factors = np.array([3.0, 1.0, 0.0, 1.0, 1.0])[np.minimum(source["label"], 4)]
    total, count, _ = naive.cross_entropy_loss(logits, source["label"], factors)
    logs = model.train_step(batch)
    assert float(logs["ce_source"]) == pytest.approx(total / count, rel=1e-5)
    plain = toys.make_model(with_modes=False, batch_norm_training=False)
    toys.compile_model(plain, keras.optimizers.SGD(0.0))
    assert float(plain.train_step(batch)["ce_target"]) == pytest.approx(
        float(logs["ce_target"]), rel=1e-6
    )
    twin = type(model).from_config(model.get_config())
    assert list(twin.get_config()["class_weights"]) == [3.0, 1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "class_weights", [{5: 1.0}, {"0": 1.0}, [1.0] * 4, {0: -1.0}, [np.nan] * 5]
)
def test_class_weights_of_no_use_are_refused(class_weights):
    with pytest.raises(UserError, match="DrslModel.class_weights is .*0 to 4"):
        toys.make_model(with_modes=False, class_weights=class_weights)


def test_labels_of_images_of_any_size(fitted):
    model = fitted[0]
    rng = np.random.default_rng(0)
    for size in ((33, 70), (1, 5), (64, 32)):
        images = rng.integers(0, 256, (3, *size, 3), np.uint8)
        labels = model.predict_labels(images)
        assert labels.dtype == np.uint8 and labels.shape == (3, *size)
        logits = inference.predict_full_size_logits(model, images).numpy()
        # Ties of logits aside, which the size of a batch may decide.
        assert np.mean(labels == logits.argmax(axis=-1)) > 0.999
        np.testing.assert_array_equal(labels, model.predict_labels(tf.constant(images, tf.float32)))
        assert np.mean(labels == model.predict_labels(images, batch_size=2)) > 0.999
    assert model.predict_labels(images[:0]).shape == (0, 64, 32)
    with pytest.raises(UserError, match=r"Images are \(B, H, W, 3\)"):
        model.predict_labels(images[0])
    with pytest.raises(UserError, match="batch_size is 0"):
        model.predict_labels(images, batch_size=0)


def test_an_export_takes_images_of_any_size(fitted, tmp_path):
    model, (images, _), *_ = fitted
    options = {"verbose": False} if compat.KERAS_3 else {"options": tf.saved_model.SaveOptions()}
    model.export(str(tmp_path / "model"), **options)
    exported = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(exported.serve(images)["logits"], model(images)["logits"], atol=1e-5)
    images = tf.constant(images[:2, :31, :57])
    expected = inference.predict_logits(model, images)["logits"]
    np.testing.assert_allclose(exported.serve(images)["logits"], expected, atol=1e-5)


@pytest.mark.parametrize(
    "unused",
    [
        {"loss": "sparse_categorical_crossentropy"},
        {"metrics": ["accuracy"]},
        {"weighted_metrics": ["accuracy"]},
        {"loss_weights": [1.0]},
    ],
)
def test_what_compile_cannot_use_is_refused(fitted, unused):
    with pytest.raises(UserError, match=f"takes no {next(iter(unused))}:.*evaluate reports"):
        toys.make_model(with_modes=False).compile("sgd", **unused)
    with pytest.raises(UserError, match=r"DrslModel\(class_weights=\{0: 2.0\}\)"):
        fitted[0].fit(*fitted[1], class_weight={0: 2.0})


def test_a_rebuilt_model_scales_the_loss_by_its_own_policy():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        config = toys.make_model(with_modes=False, name="half").get_config()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    for rebuilt in (DrslModel.from_config(config), toys.make_model(with_modes=False)):
        rebuilt.compile(keras.optimizers.SGD(0.1))
        assert compat.has_loss_scale(rebuilt.optimizer) == (rebuilt.name == "half")


def test_steps_that_the_loss_scale_skips_do_not_count_in_the_mean_of_norms():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = toys.make_model(with_modes=False)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    scaling = keras.optimizers if compat.KERAS_3 else keras.mixed_precision
    sgd = keras.optimizers.SGD(0.0)
    model.compile(scaling.LossScaleOptimizer(sgd, initial_scale=2.0**24))
    record = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: record.append(logs["gradient_norm"])
    )
    data = tf.data.Dataset.from_tensors(toys.make_batch()).repeat(30)
    history = model.fit(data, callbacks=[watch], verbose=0).history
    finite = np.isfinite(record)
    assert 0 < finite.sum() < 30
    assert history["gradient_norm"] == [pytest.approx(np.mean(np.array(record)[finite]), rel=1e-3)]


@pytest.mark.skipif(compat.KERAS_3, reason="Keras 3 compiles every term")
def test_mode_alignment_is_not_compiled_by_xla_of_the_older_line():
    with pytest.raises(UserError, match="jit_compile=True.*DrslModel.sma_weight to 0"):
        toys.make_model().compile(keras.optimizers.SGD(0.1), jit_compile=True)


@pytest.mark.slow
def test_steps_compiled_by_xla():
    settings = {"sma_weight": 0.1 if compat.KERAS_3 else 0.0}
    model, reference = toys.make_model(**settings), toys.make_model(**settings)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    reference.compile(keras.optimizers.SGD(0.1))
    data = tf.data.Dataset.from_tensors(toys.make_batch())
    history = model.fit(data, verbose=0).history
    logs = reference.train_step(toys.make_batch())
    assert history.keys() == logs.keys()
    for name, value in logs.items():
        assert history[name] == [pytest.approx(float(value), rel=1e-3)], name
