"""Principal directions, against a singular value decomposition."""

import numpy as np

from drsl_tf.modes.directions import find_directions


def test_directions_are_the_singular_vectors_of_balanced_classes():
    generator = np.random.default_rng(0)
    scales = np.array([5.0, 3.0, 2.0, 0.5, 0.1], np.float32)
    rotation = np.linalg.qr(generator.normal(size=(5, 5)))[0].astype(np.float32)
    first, second = (
        (generator.normal(size=(count, 5)).astype(np.float32) * scales) @ rotation
        for count in (400, 3000)
    )
    found = find_directions([first, second], 3)
    assert found.shape == (5, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-6)
    balanced = np.concatenate([first / 400**0.5, second / 3000**0.5])
    expected = np.linalg.svd(balanced, full_matrices=False)[2][:3].T
    np.testing.assert_allclose(np.abs(np.sum(found * expected, axis=0)), 1, atol=1e-5)


def test_a_class_of_many_pixels_counts_like_another():
    rare, frequent = np.zeros((2, 3), np.float32), np.zeros((5000, 3), np.float32)
    rare[:, 0], frequent[:, 1] = 1.0, 0.9
    np.testing.assert_allclose(np.abs(find_directions([rare, frequent], 2)), np.eye(3)[:, :2])
