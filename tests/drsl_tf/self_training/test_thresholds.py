"""Tests of the confidence histogram against exact sorting."""

from __future__ import annotations

import numpy as np
import pytest

from drsl_tf.self_training.thresholds import ConfidenceHistogram

PORTIONS = [0.01, 0.2, 0.25, 0.5, 0.999, 1.0]


def _make_confidence(certainty):
    """Converts u = -log(1 - p) to p, in float64."""
    return -np.expm1(-np.asarray(certainty, np.float64))


# Families of u, from hesitant networks to ones that float32 softmax would round to 1.
DRAWS = {
    "hesitant": lambda rng, n: rng.uniform(0.06, 1.5, n),
    "ordinary": lambda rng, n: rng.exponential(3.0, n) + 0.06,
    "confident": lambda rng, n: rng.normal(12.0, 2.0, n).clip(0.06),
    "saturated": lambda rng, n: rng.normal(25.0, 2.0, n).clip(0.06),
    "mixed": lambda rng, n: rng.uniform(0.06, 30.0, n),
}


def _draw_pixels(family, seed=0, count=60_000, num_classes=4):
    rng = np.random.default_rng([seed, len(family)])
    prediction = rng.choice(num_classes - 1, count, p=[0.9, 0.08, 0.02])
    return _make_confidence(DRAWS[family](rng, count)), prediction


def _sort_threshold(confidence, portion):
    """CBST's threshold: the confidence at index min(floor(n p), n - 1) from the top."""
    ordered = np.sort(confidence)[::-1]
    return ordered[min(int(np.floor(len(ordered) * portion)), len(ordered) - 1)]


@pytest.mark.parametrize("family", DRAWS)
@pytest.mark.parametrize("portion", PORTIONS)
def test_thresholds_select_the_portion_that_sorting_selects(family, portion):
    confidence, prediction = _draw_pixels(family)
    histogram = ConfidenceHistogram(4)
    histogram.update(confidence, prediction)
    thresholds = histogram.thresholds(portion)
    assert thresholds.dtype == np.float64
    for c in range(3):
        own = confidence[prediction == c]
        exact = _sort_threshold(own, portion)
        # The lower edge of the bin that holds the exact threshold: at most one bin below it.
        width = 53 * np.log(2) / 4096
        assert thresholds[c] <= exact
        assert -np.log1p(-exact) + np.log1p(-thresholds[c]) < 1.05 * width
        share = np.mean(own >= thresholds[c])
        assert share >= portion - 1e-12
        assert share < portion + 0.01
    assert thresholds[3] == 1.0


@pytest.mark.parametrize("family", DRAWS)
def test_thresholds_select_exactly_the_counted_pixels(family):
    """Also where float64 is sparser than the bins, as near 36."""
    rng = np.random.default_rng(0)
    certainty = np.concatenate([DRAWS[family](rng, 3000), rng.uniform(30, 40, 3000)])
    confidence = _make_confidence(certainty)
    histogram = ConfidenceHistogram(1)
    histogram.update(confidence, np.zeros(6000, np.int64))
    for portion in np.linspace(0.02, 1.0, 25):
        threshold = histogram.thresholds(portion)[0]
        selected = np.count_nonzero(confidence >= threshold)
        from_the_top = np.cumsum(histogram.counts[0, ::-1])
        index = min(int(np.floor(6000 * portion)), 5999)
        assert selected == from_the_top[from_the_top > index][0]


def test_thresholds_tell_neighbouring_floats_at_the_edges_of_bins_apart():
    edges = _make_confidence(np.arange(1, 4096) * (53 * np.log(2) / 4096))
    steps = np.arange(-3, 4)[:, np.newaxis] * np.spacing(edges)
    confidence = np.sort(np.clip(edges + steps, 0.0, 1.0).ravel())
    histogram = ConfidenceHistogram(1)
    histogram.update(confidence, np.zeros(confidence.size, np.int64))
    counts = histogram.counts[0, ::-1]
    ends = np.cumsum(counts)
    for end in ends[counts > 0]:
        # The last pixel of a bin decides, so the bin is selected whole and no pixel below it.
        threshold = histogram.thresholds((end - 0.5) / confidence.size)[0]
        assert confidence.size - np.searchsorted(confidence, threshold) == end


@pytest.mark.parametrize(
    "count, portion, index",
    [(1, 0.2, 0), (4, 0.2, 0), (5, 0.2, 1), (10, 0.55, 5), (10, 1.0, 9), (3, 1.0, 2)],
)
def test_index_of_the_deciding_pixel(count, portion, index):
    certainty = 30.0 - np.arange(count)
    histogram = ConfidenceHistogram(1)
    histogram.update(_make_confidence(certainty), np.zeros(count, int))
    threshold = histogram.thresholds(portion)[0]
    assert np.count_nonzero(_make_confidence(certainty) >= threshold) == index + 1


def test_confidence_of_one_goes_to_the_last_bin():
    histogram = ConfidenceHistogram(2, num_bins=16)
    histogram.update([1.0, np.nextafter(1.0, 0.0), 0.0], [1, 1, 1])
    expected = np.zeros((2, 16), np.int64)
    expected[1, 15], expected[1, 0] = 2, 1
    np.testing.assert_array_equal(histogram.counts, expected)
    assert np.all(np.array([1.0, np.nextafter(1.0, 0.0)]) >= histogram.thresholds(0.5)[1])


def test_classes_never_predicted_have_the_threshold_one():
    histogram = ConfidenceHistogram(3)
    np.testing.assert_array_equal(histogram.thresholds(0.2), 1.0)
    histogram.update([0.5], [1])
    thresholds = histogram.thresholds(0.2)
    assert thresholds[0] == thresholds[2] == 1.0
    assert 0.49 < thresholds[1] <= 0.5


def test_order_and_shape_of_the_pixels_change_nothing():
    confidence, prediction = _draw_pixels("mixed")
    whole = ConfidenceHistogram(4)
    whole.update(confidence, prediction)
    order = np.random.default_rng(0).permutation(len(confidence))
    shuffled = ConfidenceHistogram(4)
    shape = (3, 100, 200)
    shuffled.update(
        confidence[order].reshape(shape), prediction[order].astype(np.uint8).reshape(shape)
    )
    np.testing.assert_array_equal(shuffled.counts, whole.counts)


def test_counts_restore_a_histogram():
    confidence, prediction = _draw_pixels("ordinary")
    histogram = ConfidenceHistogram(4)
    histogram.update(confidence, prediction)
    counts = histogram.counts
    assert counts.dtype == np.int64 and counts.shape == (4, 4096)
    restored = ConfidenceHistogram.from_counts(counts)
    counts[:] = 0  # Neither side shares memory with the array.
    np.testing.assert_array_equal(restored.counts, histogram.counts)
    np.testing.assert_array_equal(restored.thresholds(0.2), histogram.thresholds(0.2))


def test_empty_updates_change_nothing():
    histogram = ConfidenceHistogram(2)
    histogram.update(np.zeros((0, 4)), np.zeros((0, 4), int))
    assert histogram.counts.sum() == 0


@pytest.mark.parametrize(
    "confidence, prediction, message",
    [
        ([0.5, np.nan, np.nan], [0, 1, 0], "2 of 3 confidences are NaN"),
        ([0.5, 1.5], [0, 1], r"lie in \[0, 1\], but they range from 0.5 to 1.5"),
        ([0.5, -0.1], [0, 1], r"lie in \[0, 1\], but they range from -0.1 to 0.5"),
        ([0.5, np.inf], [0, 1], r"lie in \[0, 1\]"),
        ([0.5, 0.5], [0, 2], "classes 0 to 1, but they range from 0 to 2"),
        ([0.5, 0.5], [-1, 1], "classes 0 to 1, but they range from -1 to 1"),
        ([0.5, 0.5], [0.0, 1.0], "must be integers, not float64"),
        ([0.5, 0.5], [0], r"shape \(2,\) do not match predictions of shape \(1,\)"),
    ],
)
def test_bad_pixels_are_named_and_not_counted(confidence, prediction, message):
    histogram = ConfidenceHistogram(2)
    with pytest.raises(ValueError, match=message):
        histogram.update(np.array(confidence), np.array(prediction))
    assert histogram.counts.sum() == 0


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="0 classes and 4096 bins"):
        ConfidenceHistogram(0)
    for portion in (0.0, -0.1, 1.01, np.nan):
        with pytest.raises(ValueError, match=r"lie in \(0, 1\]"):
            ConfidenceHistogram(2).thresholds(portion)
    with pytest.raises(ValueError, match="float64 of shape"):
        ConfidenceHistogram.from_counts(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="negative"):
        ConfidenceHistogram.from_counts(np.full((2, 4), -1))
