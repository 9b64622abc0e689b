"""Tallies, averages and restarts of modes against loops."""

import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.losses import metric_learning
from drsl_tf.losses import mode_usage
from tests.support import naive


def _draw(seed=0, count=60, num_modes=2):
    rng = np.random.default_rng(seed)
    embedding = naive.draw_unit_vectors(rng, count, 4)
    modes = naive.draw_unit_vectors(rng, 3, num_modes, 4)
    labels = naive.draw_labels(rng, count, 2)  # The third class is absent.
    return embedding, labels, modes


def _tally(embedding, labels, modes):
    distances = metric_learning.squared_distances(embedding, modes)
    chosen = metric_learning.nearest_modes(distances, labels)
    return mode_usage.tally_modes(tf.constant(embedding), labels, chosen, tf.constant(modes))


def test_tallies_equal_the_naive_loop():
    embedding, labels, modes = _draw()
    tally = _tally(embedding, labels, modes)
    groups = naive.group_by_mode(embedding, labels, modes)
    for c, k in np.ndindex(3, 2):
        rows = groups.get((c, k), [])
        assert tally.counts[c, k] == len(rows)
        np.testing.assert_allclose(tally.vectors[c, k], embedding[rows].sum(axis=0), atol=1e-5)
        squares = sum(np.sum((embedding[row] - modes[c, k]) ** 2) for row in rows)
        np.testing.assert_allclose(tally.squares[c, k], squares, atol=1e-4)
    assert len(groups) == 4


def test_invalid_embeddings_do_not_count():
    embedding, labels, modes = _draw()
    expected = _tally(embedding[1:], labels[1:], modes)
    embedding[0] = np.nan
    labels[0] = 1
    for part, other in zip(_tally(embedding, labels, modes), expected):
        np.testing.assert_allclose(part, other, atol=1e-5)


def test_averages_follow_the_classes_that_are_present():
    usage = np.array([[0.5, 0.5], [0.9, 0.1], [0.3, 0.7]], np.float32)
    variance = np.array([[0.2, 0.4], [0.6, 0.8], [0.1, 0.3]], np.float32)
    counts = tf.constant([[3.0, 1.0], [4.0, 0.0], [0.0, 0.0]])
    squares = tf.constant([[6.0, 5.0], [2.0, 0.0], [0.0, 0.0]])
    tally = mode_usage.ModeTally(counts, squares, tf.zeros((3, 2, 4)))
    found = mode_usage.average_usage(usage, variance, tally, 0.9)
    np.testing.assert_allclose(found[0], [[0.525, 0.475], [0.91, 0.09], [0.3, 0.7]], atol=1e-6)
    np.testing.assert_allclose(found[1], [[0.38, 0.86], [0.59, 0.8], [0.1, 0.3]], atol=1e-6)


def test_modes_move_to_the_mean_of_their_pixels():
    embedding, labels, modes = _draw()
    moved = mode_usage.move_modes(tf.constant(modes), _tally(embedding, labels, modes), 0.8)
    for (c, k), rows in naive.group_by_mode(embedding, labels, modes).items():
        expected = 0.8 * modes[c, k] + 0.2 * embedding[rows].mean(axis=0)
        np.testing.assert_allclose(moved[c, k], expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_array_equal(moved[2], modes[2])


def _restart(modes, usage, variance, least=0.05, seed=(1, 2)):
    usage, variance = np.float32(usage), np.float32(variance)
    found = mode_usage.restart_modes(modes, usage, variance, least=least, seed=tf.constant(seed))
    return [each.numpy() for each in found]


def test_an_unused_mode_restarts_beside_the_widest():
    modes = 3 * naive.draw_unit_vectors(np.random.default_rng(0), 2, 3, 16)
    # Usage times variance is largest for mode 2 of the first class; the second uses all modes.
    usage, variance = [[0.6, 0.01, 0.39], [0.5, 0.3, 0.2]], [[0.1, 0.9, 0.4], [0.1, 0.1, 0.1]]
    found, new_usage, new_variance = _restart(modes, usage, variance)
    np.testing.assert_allclose(np.linalg.norm(found[0, 1]), 1, atol=1e-6)
    # A step of length 0.1 in a random direction from the unit vector.
    parent = modes[0, 2] / np.linalg.norm(modes[0, 2])
    assert 0.03 < np.linalg.norm(found[0, 1] - parent) < 0.11
    np.testing.assert_allclose(new_usage[0], [0.6, 0.195, 0.195], atol=1e-6)
    np.testing.assert_allclose(new_variance[0], [0.1, 0.4, 0.4], atol=1e-6)
    for new, old in ((found, modes), (new_usage, usage), (new_variance, variance)):
        np.testing.assert_array_equal(new[1], np.float32(old[1]))
    np.testing.assert_array_equal(found[0, [0, 2]], modes[0, [0, 2]])


def test_two_unused_modes_restart_one_after_another():
    modes = naive.draw_unit_vectors(np.random.default_rng(0), 1, 3, 16)
    found, usage, _ = _restart(modes, [[0.01, 0.98, 0.01]], [[0.0, 0.5, 0.0]])
    # The second has the choice between two equal modes: the first mode is the parent.
    np.testing.assert_allclose(usage, [[0.245, 0.49, 0.245]], atol=1e-6)
    assert np.all(found[0] @ modes[0, 1] > 0.97)
    assert np.abs(found[0, 0] - found[0, 2]).max() > 1e-3


@pytest.mark.parametrize("variance", [0.0, 0.5])
def test_a_mode_is_not_its_own_parent(variance):
    modes = naive.draw_unit_vectors(np.random.default_rng(0), 1, 2, 16)
    found, usage, _ = _restart(modes, [[0.01, 0.99]], [[variance, 0.0]])
    np.testing.assert_allclose(usage, [[0.495, 0.495]], atol=1e-6)
    assert found[0, 0] @ modes[0, 1] > 0.98


def test_seed_decides_the_noise_and_the_order_of_modes_changes_nothing_else():
    modes = naive.draw_unit_vectors(np.random.default_rng(0), 2, 3, 8)
    usage, variance = [[0.6, 0.01, 0.39]] * 2, [[0.1, 0.9, 0.4]] * 2
    first, same, other = (
        _restart(modes, usage, variance, seed=s) for s in ((1, 2), (1, 2), (1, 3))
    )
    np.testing.assert_array_equal(first[0], same[0])
    assert np.abs(first[0] - other[0]).max() > 1e-3
    order = [2, 0, 1]
    permuted = _restart(*(np.array(each)[:, order] for each in (modes, usage, variance)))
    for mine, theirs in zip(first[1:], permuted[1:]):
        np.testing.assert_allclose(mine[:, order], theirs, atol=1e-6)


def test_a_single_mode_stays():
    modes = naive.draw_unit_vectors(np.random.default_rng(0), 2, 1, 4)
    found, usage, _ = _restart(modes, [[1.0], [1.0]], [[0.5], [0.0]])
    np.testing.assert_array_equal(found, modes)
    np.testing.assert_array_equal(usage, 1)
