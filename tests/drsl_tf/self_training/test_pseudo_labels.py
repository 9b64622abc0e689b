"""Tests of confidences, predictions and the selection of pseudo-labels."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.self_training import pseudo_labels
from drsl_tf.self_training.thresholds import ConfidenceHistogram

SCALES = [0.5, 4.0, 20.0]


def _draw_logits(scale, shape=(2, 9, 11), num_classes=7, seed=0):
    rng = np.random.default_rng(seed)
    return (scale * rng.normal(size=(*shape, num_classes))).astype(np.float32)


def _compute_certainty(logits):
    """Oracle: u = -log(1 - P) of every class, in float64, by a loop over the classes."""
    logits = logits.astype(np.float64)
    whole = np.logaddexp.reduce(logits, axis=-1)
    certainty = np.zeros(logits.shape)
    for c in range(logits.shape[-1]):
        others = np.delete(logits, c, axis=-1)
        certainty[..., c] = whole - np.logaddexp.reduce(others, axis=-1)
    return certainty


def _select_naively(logits, thresholds, rule):
    """CBST's rule pixel by pixel, in float64."""
    labels = np.full(logits.shape[:-1], 255, np.uint8)
    certainty = _compute_certainty(logits)
    for place in np.ndindex(*labels.shape):
        probabilities = -np.expm1(-certainty[place])
        if rule == "argmax":
            c = logits[place].argmax()
        else:
            c = (probabilities / thresholds).argmax()
        # Compared in u: P / thr >= 1 without the rounding of P next to 1.
        if certainty[place][c] >= -np.log1p(-thresholds[c]):
            labels[place] = c
    return labels


@pytest.mark.parametrize("scale", SCALES)
def test_confidences_and_predictions_equal_the_oracle(scale):
    logits = _draw_logits(scale)
    confidence, prediction = pseudo_labels.confidence_and_prediction(logits)
    assert confidence.dtype == tf.float64 and prediction.dtype == tf.int32
    np.testing.assert_array_equal(prediction, logits.argmax(axis=-1))
    certainty = _compute_certainty(logits).max(axis=-1)
    np.testing.assert_allclose(confidence, -np.expm1(-certainty), rtol=1e-6)
    # 1 - p is right to float32's relative precision, until p itself runs out of float64.
    resolved = certainty < 25
    np.testing.assert_allclose(
        -np.log1p(-confidence.numpy()[resolved]), certainty[resolved], rtol=1e-5, atol=1e-5
    )


def test_saturated_margins_keep_their_order():
    margins = np.linspace(0.0, 36.0, 400).astype(np.float32)
    logits = np.stack([margins, np.zeros_like(margins)], axis=-1)[np.newaxis, np.newaxis]
    confidence = pseudo_labels.confidence_and_prediction(logits)[0].numpy().ravel()
    assert np.all(np.diff(confidence) >= 0)
    assert np.all(np.diff(confidence[margins < 33]) > 0)
    assert confidence[-1] < 1.0


@pytest.mark.parametrize("extreme", [1e3, 1e30])
def test_extreme_logits_give_confidence_one(extreme):
    confidence, prediction = pseudo_labels.confidence_and_prediction([[[[extreme, 0.0, -extreme]]]])
    assert (confidence.numpy().item(), prediction.numpy().item()) == (1.0, 0)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_lower_precision_is_computed_in_float32(dtype):
    logits = tf.cast(_draw_logits(3.0), dtype)
    confidence, _ = pseudo_labels.confidence_and_prediction(logits)
    certainty = _compute_certainty(tf.cast(logits, tf.float32).numpy()).max(axis=-1)
    np.testing.assert_allclose(confidence, -np.expm1(-certainty), rtol=1e-5)


def _draw_thresholds(scale, seed=0, num_classes=7):
    """Thresholds in the range of the confidences: some pixels pass, some do not."""
    rng = np.random.default_rng([seed, 1])
    certainty = _compute_certainty(_draw_logits(scale, num_classes=num_classes)).max(axis=-1)
    low, high = np.quantile(certainty, [0.2, 0.8])
    return -np.expm1(-rng.uniform(low, min(high, 30.0), num_classes))


@pytest.mark.parametrize("rule", ["ratio", "argmax"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("seed", range(3))
def test_selected_labels_equal_the_naive_rule(rule, scale, seed):
    logits = _draw_logits(scale, seed=seed)
    thresholds = _draw_thresholds(scale, seed)
    labels = pseudo_labels.select_labels(logits, thresholds, rule)
    assert labels.dtype == tf.uint8
    expected = _select_naively(logits, thresholds, rule)
    np.testing.assert_array_equal(labels, expected)
    assert 0.05 < np.mean(expected != 255) < 0.95


def test_ratio_may_label_another_class_than_the_prediction():
    # Class 1 lies above its threshold, class 0 has the larger probability.
    logits = np.log([[[[0.5, 0.4, 0.1]]]])

    def select(thresholds, rule):
        return pseudo_labels.select_labels(logits, thresholds, rule).numpy().item()

    assert select([0.9, 0.35, 0.9], "ratio") == 1
    assert select([0.9, 0.35, 0.9], "argmax") == 255
    assert select([0.45, 0.35, 0.9], "ratio") == 1
    assert select([0.45, 0.35, 0.9], "argmax") == 0
    assert select([0.9, 0.45, 0.9], "ratio") == 255


@pytest.mark.parametrize("rule", ["ratio", "argmax"])
def test_a_confidence_at_the_threshold_is_selected(rule):
    logits = _draw_logits(4.0, shape=(1, 1, 1))
    confidence, prediction = (x.numpy() for x in pseudo_labels.confidence_and_prediction(logits))
    thresholds = np.ones(7)
    thresholds[prediction] = confidence
    assert pseudo_labels.select_labels(logits, thresholds, rule).numpy() == prediction
    thresholds[prediction] = np.nextafter(confidence, 1.0)
    assert pseudo_labels.select_labels(logits, thresholds, rule).numpy() == 255


@pytest.mark.parametrize("portion", [0.2, 0.5])
@pytest.mark.parametrize("margin", [2.0, 10.0, 22.0])
def test_selected_share_is_the_portion_even_of_saturated_logits(margin, portion):
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 5, (1, 200, 200))
    noise = rng.normal(size=(1, 200, 200, 5))
    logits = tf.constant(np.eye(5)[classes] * (margin + rng.normal(size=(1, 200, 200, 1))) + noise)
    confidence, prediction = (x.numpy() for x in pseudo_labels.confidence_and_prediction(logits))
    histogram = ConfidenceHistogram(6)
    histogram.update(confidence, prediction)
    thresholds = histogram.thresholds(portion)[:5]
    labels = pseudo_labels.select_labels(logits, thresholds, "argmax").numpy()
    for c in range(5):
        share = np.mean(labels[prediction == c] == c)
        assert abs(share - portion) < 0.01
    # The selection is what the histogram counted, to the pixel.
    np.testing.assert_array_equal(labels != 255, confidence >= thresholds[prediction])


def test_ratio_and_argmax_agree_on_saturated_pixels():
    logits = _draw_logits(60.0)
    thresholds = _draw_thresholds(60.0)
    confident = np.sort(_compute_certainty(logits).max(axis=-1).ravel())
    assert np.median(confident) > 17
    ratio, argmax = (
        pseudo_labels.select_labels(logits, thresholds, rule).numpy()
        for rule in ("ratio", "argmax")
    )
    sure = _compute_certainty(logits).max(axis=-1) > 17
    np.testing.assert_array_equal(ratio[sure], argmax[sure])


def test_classes_never_predicted_are_never_selected():
    logits = _draw_logits(4.0)
    logits[..., 3] = -50.0
    confidence, prediction = pseudo_labels.confidence_and_prediction(logits)
    histogram = ConfidenceHistogram(7)
    histogram.update(confidence.numpy(), prediction.numpy())
    thresholds = histogram.thresholds(1.0)
    assert thresholds[3] == 1.0
    labels = pseudo_labels.select_labels(logits, thresholds).numpy()
    assert not np.any(labels == 3)
    assert np.all(labels != 255)


@pytest.mark.parametrize("num_classes", [2, 19, 150])
def test_thresholds_of_zero_select_as_chance_does(num_classes):
    """A class with the threshold 0 must not win every ratio."""
    logits = _draw_logits(0.01, num_classes=num_classes)
    labels = pseudo_labels.select_labels(logits, np.zeros(num_classes))
    np.testing.assert_array_equal(labels, logits.argmax(axis=-1))


def test_broken_logits_select_nothing():
    logits = _draw_logits(4.0)
    logits[0, 0, 0, 2] = np.nan
    labels = pseudo_labels.select_labels(logits, np.full(7, 0.3)).numpy()
    assert labels[0, 0, 0] == 255
    confidence, prediction = pseudo_labels.confidence_and_prediction(logits)
    with pytest.raises(ValueError, match="1 of 198 confidences are NaN"):
        ConfidenceHistogram(7).update(confidence.numpy(), prediction.numpy())


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match='"ratio" or "argmax", not \'top\''):
        pseudo_labels.select_labels(_draw_logits(1.0), np.full(7, 0.5), rule="top")


def test_unknown_shapes_trace_once():
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, None], tf.float32),
            tf.TensorSpec([None], tf.float64),
        ]
    )
    def compute(logits, thresholds):
        return (
            *pseudo_labels.confidence_and_prediction(logits),
            pseudo_labels.select_labels(logits, thresholds),
        )

    for shape in ((1, 1, 1), (2, 5, 4)):
        logits, thresholds = _draw_logits(4.0, shape), np.full(7, 0.7)
        confidence, prediction, labels = compute(logits, thresholds)
        expected = pseudo_labels.confidence_and_prediction(logits)
        np.testing.assert_allclose(confidence, expected[0], rtol=1e-6)
        np.testing.assert_array_equal(prediction, expected[1])
        np.testing.assert_array_equal(labels, _select_naively(logits, thresholds, "ratio"))
    assert compute.experimental_get_tracing_count() == 1
