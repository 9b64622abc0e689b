"""Spherical k-means++ against loops over pixels."""

import numpy as np
import pytest

from drsl_tf.modes import clusters as mode_clusters
from tests.support import naive


def _cluster_naively(vectors, count, generator):
    """The same draws and iterations, one pixel at a time; gives centres and members."""
    vectors = vectors.astype(np.float64)
    best = None
    for _ in range(mode_clusters.STARTS):
        centres = [vectors[generator.integers(len(vectors))]]
        while len(centres) < count:
            chances = np.array([1 - max(v @ c for c in centres) for v in vectors])
            chances = np.maximum(chances, 1e-12)
            centres.append(vectors[generator.choice(len(vectors), p=chances / chances.sum())])
        for _ in range(mode_clusters.ITERATIONS):
            nearest = [int(np.argmax([v @ c for c in centres])) for v in vectors]
            for k in range(count):
                total = sum((v for v, own in zip(vectors, nearest) if own == k), 0 * centres[k])
                if np.linalg.norm(total) > 0:
                    centres[k] = total / np.linalg.norm(total)
        score = sum(max(v @ c for c in centres) for v in vectors)
        if best is None or score > best[0]:
            best = score, np.array(centres)
    nearest = [int(np.argmax([v @ c for c in best[1]])) for v in vectors]
    return best[1], nearest


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_clusters_equal_the_naive_loop(count, seed):
    vectors = naive.draw_unit_vectors(np.random.default_rng(seed), 40, 2)
    found = mode_clusters.cluster_directions(vectors, count, np.random.default_rng(seed))
    centres, nearest = _cluster_naively(vectors, count, np.random.default_rng(seed))
    np.testing.assert_allclose(found.centres, centres, atol=1e-6)
    for k in range(count):
        own = [v for v, mode in zip(vectors, nearest) if mode == k]
        assert found.shares[k] == pytest.approx(len(own) / 40)
        distances = [np.sum((v - centres[k]) ** 2) for v in own]
        assert found.variances[k] == pytest.approx(np.mean(distances), abs=1e-6)


def test_separate_groups_are_found():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(3), [100, 40, 20], axis=0) + rng.normal(0, 0.05, (160, 3))
    vectors = groups / np.linalg.norm(groups, axis=1, keepdims=True)
    found = mode_clusters.cluster_directions(vectors, 3, rng)
    assert sorted(found.shares.tolist()) == pytest.approx([20 / 160, 40 / 160, 100 / 160])
    assert sorted(found.centres.argmax(axis=1)) == [0, 1, 2]
    assert found.centres.max(axis=1).min() > 0.99


def test_equal_vectors_leave_clusters_empty_but_valid():
    vectors = np.tile([[0.6, 0.8]], (30, 1))
    found = mode_clusters.cluster_directions(vectors, 3, np.random.default_rng(0))
    np.testing.assert_allclose(found.centres, vectors[:3], atol=1e-6)
    assert found.shares.tolist() == [1, 0, 0]
    np.testing.assert_allclose(found.variances, 0, atol=1e-6)
