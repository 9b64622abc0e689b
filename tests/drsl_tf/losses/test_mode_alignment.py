"""Tests of the stochastic mode alignment."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.losses import mode_alignment
from tests.support import naive

align = mode_alignment.stochastic_mode_alignment_loss


def _draw_case(num_classes=4, num_modes=3, dimension=8, sizes=(70, 50), seed=0):
    rng = np.random.default_rng(seed)
    case = []
    for size in sizes:
        case.append(naive.draw_unit_vectors(rng, size, dimension))
        case.append(naive.draw_labels(rng, size, num_classes))
    return (*case, naive.draw_unit_vectors(rng, num_classes, num_modes, dimension))


def _draw_one_mode(source_size, target_size, dimension=6, seed=0):
    """Source and target that all map to one mode."""
    rng = np.random.default_rng(seed)
    source = naive.draw_unit_vectors(rng, source_size, dimension)
    target = naive.draw_unit_vectors(rng, target_size, dimension)
    modes = naive.draw_unit_vectors(rng, 1, 1, dimension)
    labels = [np.zeros(size, np.int32) for size in (source_size, target_size)]
    return source, labels[0], target, labels[1], modes


def _compute_gradients(case, **settings):
    source, source_labels, target, target_labels, modes = case
    source, target, modes = map(tf.constant, (source, target, modes))
    with tf.GradientTape() as tape:
        tape.watch([source, target, modes])
        total, count = align(source, source_labels, target, target_labels, modes, **settings)
    gradients = tape.gradient(total, [source, target, modes])
    dense = [None if g is None else tf.convert_to_tensor(g).numpy() for g in gradients]
    return float(total), float(count), dense


def _repeat(case, repeats, samples_per_mode):
    """The sums of the loss for many seeds."""
    compute = tf.function(lambda seed: align(*case, samples_per_mode=samples_per_mode, seed=seed))
    seeds = tf.constant([[7, i] for i in range(repeats)], tf.int32)
    return np.array([float(compute(seed)[0]) for seed in seeds])


@pytest.mark.parametrize("samples", [1, 3, 64])
def test_mean_over_seeds_approaches_the_expectation(samples):
    case = _draw_case()
    sums = _repeat(case, 400, samples)
    standard_error = sums.std(ddof=1) / np.sqrt(len(sums))
    expected = float(naive.expected_mode_alignment_loss(*case)[0])
    assert standard_error < 0.02 * expected
    assert abs(sums.mean() - expected) < 4 * standard_error


def test_more_samples_give_less_noise():
    case = _draw_one_mode(60, 60)
    assert _repeat(case, 100, 30).std() < 0.5 * _repeat(case, 100, 1).std()


@pytest.mark.parametrize("sizes, samples", [((9, 5), 64), ((5, 9), 64), ((40, 30), 7), ((1, 1), 1)])
def test_pairs_are_drawn_without_replacement(sizes, samples):
    case = _draw_one_mode(*sizes)
    source, target = case[0], case[2]
    expected = min(samples, *sizes)
    total, _, (source_gradient, target_gradient, _) = _compute_gradients(
        case, samples_per_mode=samples, seed=[3, 4]
    )
    drawn_source = np.flatnonzero(np.any(source_gradient, axis=1))
    drawn_target = np.flatnonzero(np.any(target_gradient, axis=1))
    assert len(drawn_source) == len(drawn_target) == expected
    # The gradient of a pair is 2 (E_s - E_t) / n_ck, which gives away the partner.
    partners = []
    for s in drawn_source:
        partner = source[s] - source_gradient[s] * expected / 2
        gaps = np.linalg.norm(target - partner, axis=1)
        assert gaps.min() < 1e-5
        partners.append(int(gaps.argmin()))
    assert sorted(partners) == drawn_target.tolist()
    pairs = np.sum((source[drawn_source] - target[partners]) ** 2, axis=1)
    np.testing.assert_allclose(total, pairs.mean(), rtol=1e-5)


def test_number_of_pairs_is_that_of_each_mode():
    case = _draw_case(sizes=(90, 60))
    groups = [naive.group_by_mode(case[i], case[i + 1], case[4]) for i in (0, 2)]
    _, count, (source_gradient, target_gradient, _) = _compute_gradients(
        case, samples_per_mode=4, seed=[0, 0]
    )
    shared = groups[0].keys() & groups[1].keys()
    assert count == len(shared)
    for gradient, group in zip((source_gradient, target_gradient), groups):
        is_drawn = np.any(gradient, axis=1)
        for key, pixels in group.items():
            other_sizes = [len(g.get(key, [])) for g in groups]
            assert is_drawn[pixels].sum() == min(4, *other_sizes)


def test_draws_are_uniform():
    case = _draw_one_mode(12, 7)
    drawn = np.zeros(12)
    repeats, samples = 600, 3
    compute = tf.function(
        lambda seed: mode_alignment._draw_members(
            tf.constant(case[1]),
            tf.constant([12]),
            tf.constant([[0, place] for place in range(samples)]),
            seed,
        )
    )
    for i in range(repeats):
        rows = compute(tf.constant([1, i])).numpy().ravel()
        assert len(set(rows)) == samples
        drawn[rows] += 1
    share = samples / 12
    deviation = np.sqrt(repeats * share * (1 - share))
    assert np.all(np.abs(drawn - repeats * share) < 4.5 * deviation)


def test_pairings_are_uniform():
    case = _draw_one_mode(3, 3)
    source, target = case[0], case[2]
    squares = np.sum((source[:, np.newaxis] - target) ** 2, axis=-1)
    sums = [
        np.mean([squares[s, t] for s, t in enumerate(permutation)])
        for permutation in itertools.permutations(range(3))
    ]
    losses = _repeat(case, 600, 64)
    seen = np.argmin(np.abs(losses[:, np.newaxis] - sums), axis=1)
    np.testing.assert_allclose(losses, np.array(sums)[seen], rtol=1e-5)
    counts = np.bincount(seen, minlength=6)
    assert np.all(np.abs(counts - 100) < 4.5 * np.sqrt(600 / 6 * 5 / 6))


def test_same_seed_gives_the_same_bits_and_another_seed_others():
    case = _draw_case()
    first = _compute_gradients(case, samples_per_mode=2, seed=[1, 2])
    again = _compute_gradients(case, samples_per_mode=2, seed=[1, 2])
    assert first[:2] == again[:2]
    np.testing.assert_array_equal(first[2][0], again[2][0])
    np.testing.assert_array_equal(first[2][1], again[2][1])
    assert first[0] != _compute_gradients(case, samples_per_mode=2, seed=[1, 3])[0]


def test_gradient_reaches_both_domains_but_no_mode_and_no_ignored_pixel():
    case = _draw_case()
    _, _, (source_gradient, target_gradient, mode_gradient) = _compute_gradients(case, seed=[1, 2])
    assert mode_gradient is None
    for gradient, labels in ((source_gradient, case[1]), (target_gradient, case[3])):
        assert np.isfinite(gradient).all()
        assert np.any(gradient != 0.0)
        assert np.all(gradient[labels == naive.IGNORE] == 0.0)


@pytest.mark.parametrize("labels", [(0, 1), (0, naive.IGNORE), (naive.IGNORE, naive.IGNORE)])
def test_no_shared_mode_gives_zero_and_zero_gradients(labels):
    case = list(_draw_case(sizes=(20, 30)))
    case[1], case[3] = np.full(20, labels[0]), np.full(30, labels[1])
    total, count, gradients = _compute_gradients(case, seed=[1, 2])
    assert (total, count) == (0.0, 0.0)
    assert np.all(gradients[0] == 0.0) and np.all(gradients[1] == 0.0)


def test_equal_embeddings_of_one_point_give_zero():
    point = np.array([[0.6, 0.8]], np.float32)
    source, target = np.repeat(point, 5, axis=0), np.repeat(point, 3, axis=0)
    modes = point[np.newaxis]
    total, count = align(source, np.zeros(5), target, np.zeros(3), modes, seed=[0, 0])
    assert (float(total), float(count)) == (0.0, 1.0)


def test_permuted_modes_are_equal_in_expectation():
    case = _draw_case(num_classes=2)
    permuted = (*case[:4], case[4][:, ::-1])
    first, second = _repeat(case, 300, 2), _repeat(permuted, 300, 2)
    standard_error = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 300)
    assert abs(first.mean() - second.mean()) < 4 * standard_error


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_loss_traces_once_for_every_number_of_pixels(dtype):
    vectors, labels = tf.TensorSpec([None, None], dtype), tf.TensorSpec([None], tf.int32)

    @tf.function(
        input_signature=[
            *(vectors, labels) * 2,
            tf.TensorSpec([None, None, None], dtype),
            tf.TensorSpec([2], tf.int32),
        ]
    )
    def compute(source, source_labels, target, target_labels, modes, seed):
        return align(source, source_labels, target, target_labels, modes, seed=seed)

    for sizes in ((70, 50), (1, 9), (33, 33)):
        case = _draw_case(sizes=sizes)
        case = [x.astype(dtype) if x.dtype == np.float32 else x for x in case]
        total, count = compute(*case, [1, 2])
        assert total.dtype == count.dtype == tf.float32
        np.testing.assert_allclose((total, count), align(*case, seed=[1, 2]), rtol=1e-5)
    assert compute.experimental_get_tracing_count() == 1


def test_loss_makes_no_tensor_of_pixels_by_modes_by_dimensions():
    function = tf.function(align).get_concrete_function(
        tf.TensorSpec([None, 8], tf.float32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None, 8], tf.float32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([4, 3, 8], tf.float32),
        seed=tf.TensorSpec([2], tf.int32),
    )
    for operation in function.graph.get_operations():
        for output in operation.outputs:
            assert output.shape.rank is None or output.shape.rank <= 3


def test_feature_maps_are_flattened():
    source, source_labels, target, target_labels, modes = _draw_case(sizes=(24, 30))
    maps = (
        source.reshape(2, 3, 4, 8),
        source_labels.reshape(2, 3, 4),
        target.reshape(1, 5, 6, 8),
        target_labels.reshape(1, 5, 6),
    )
    flat = align(source, source_labels, target, target_labels, modes, seed=[1, 2])
    np.testing.assert_array_equal(align(*maps, modes, seed=[1, 2]), flat)


@pytest.mark.parametrize("empty", ["source", "target", "both"])
def test_a_domain_without_a_pixel_shares_no_mode(empty):
    vectors, labels, modes = tf.ones((4, 2)) / 2**0.5, tf.zeros(4, tf.int32), tf.ones((1, 1, 2))
    source = slice(0, 0 if empty != "target" else 4)
    target = slice(0, 0 if empty != "source" else 4)
    total, count = mode_alignment.stochastic_mode_alignment_loss(
        vectors[source], labels[source], vectors[target], labels[target], modes, seed=[0, 0]
    )
    assert float(total) == 0.0 and float(count) == 0.0


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="samples_per_mode must be at least 1, not 0"):
        align(*_draw_case(), samples_per_mode=0, seed=[0, 0])
