"""Principal directions, against a singular value decomposition."""

import numpy as np

from drsl_tf.modes.directions import find_directions


def _draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _draw_classes():
    """Two classes of few and of many vectors."""
    scales = np.array([5.0, 3.0, 2.0, 0.5, 0.1], np.float32)
    rotation = np.linalg.qr(_draw(5, 5))[0]
    return [(_draw(count, 5, seed=count) * scales) @ rotation for count in (400, 3000)]


def test_the_span_is_that_of_the_singular_vectors_of_balanced_classes():
    classes = _draw_classes()
    found = find_directions(classes, _draw(5, 3))
    assert found.shape == (5, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-6)
    balanced = np.concatenate([each / len(each) ** 0.5 for each in classes])
    expected = np.linalg.svd(balanced, full_matrices=False)[2][:3].T
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)


def test_a_class_of_many_pixels_counts_like_another():
    rare, frequent = np.zeros((2, 3), np.float32), np.zeros((5000, 3), np.float32)
    rare[:, 0], frequent[:, 1] = 1.0, 0.9
    found = find_directions([rare, frequent], np.eye(3)[:, :2])
    np.testing.assert_allclose(found, np.eye(3)[:, :2], atol=1e-6)


def test_the_basis_is_the_nearest_to_the_reference():
    classes, reference = _draw_classes(), _draw(5, 3)
    found = find_directions(classes, reference)
    distance = np.linalg.norm(found - reference)
    for seed in range(20):
        other = found @ np.linalg.qr(_draw(3, 3, seed=seed))[0]
        assert np.linalg.norm(other - reference) > distance
    # So it stays where it is found again.
    np.testing.assert_allclose(find_directions(classes, found), found, atol=1e-5)


def test_all_dimensions_do_not_depend_on_the_vectors():
    reference = _draw(5, 5)
    first, second = (find_directions([_draw(50, 5, seed=seed)], reference) for seed in (1, 2))
    np.testing.assert_allclose(first, second, atol=1e-6)
