"""Samples of pixels: uniform, bounded, and each with all that was offered of it."""

import numpy as np

from drsl_tf.modes.pixel_sample import PixelSample


def test_a_sample_is_uniform_and_bounded():
    sample = PixelSample(50, np.random.default_rng(0))
    assert sample.get() == {}
    for start in range(0, 2000, 100):
        values = np.arange(start, start + 100)
        sample.add(np.full(100, 7), values[:, np.newaxis].astype(np.float32), values)
    sample.add(np.array([3, 7]), np.zeros((2, 1), np.float32), np.array([0, 0]))
    kept = sample.get()
    assert list(kept) == [3, 7] and len(kept[3][0]) == 1
    features, classes = kept[7]
    assert len(features) == len(classes) == 50
    np.testing.assert_array_equal(features[:, 0], classes)
    assert len(set(classes.tolist())) == 50 and 800 < classes.mean() < 1200


def test_the_sample_does_not_depend_on_the_batches():
    values = np.arange(300)
    whole, parts = (PixelSample(20, np.random.default_rng(1)) for _ in range(2))
    whole.add(values % 3, values)
    for rows in np.split(values, [50, 130]):
        parts.add(rows % 3, rows)
    for index in range(3):
        np.testing.assert_array_equal(whole.get()[index][0], parts.get()[index][0])
