"""Spherical k-means++: clusters of unit vectors by direction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

STARTS = 3
"""Starts of `cluster_directions`."""

ITERATIONS = 10
"""Iterations of each start."""

# Keeps the chances of the first centres valid where all vectors are equal.
_LEAST_CHANCE = 1e-12


class Clusters(NamedTuple):
    """Clusters of unit vectors.

    Attributes:
        centres: (K, d) float32 of unit vectors.
        shares: (K,) float32, the share of the vectors nearest to each centre; their sum is 1.
        variances: (K,) float32, the mean squared distance of these vectors to the centre; 0 without
            any.
    """

    centres: np.ndarray
    shares: np.ndarray
    variances: np.ndarray


def cluster_directions(vectors: np.ndarray, count: int, generator: np.random.Generator) -> Clusters:
    """Clusters unit vectors, so that the sum of their cosines to the nearest centre is large.

    The first centres are drawn as in k-means++ (D. Arthur, S. Vassilvitskii, SODA 2007). An
    iteration assigns each vector to the centre of the highest cosine, and moves each centre to the
    direction of its vectors' sum. A centre without vectors stays. Of several starts, that of the
    highest sum of cosines wins.

    Args:
        vectors: (N, d) float of unit vectors, N at least 1.
        count: number of clusters K.
        generator: draws the first centres.

    Returns:
        The clusters.
    """
    vectors = np.asarray(vectors, np.float64)
    starts = []
    for _ in range(STARTS):
        centres = _draw_centres(vectors, count, generator)
        for _ in range(ITERATIONS):
            centres = _move_centres(vectors, vectors @ centres.T, centres)
        starts.append(centres)
    centres = max(starts, key=lambda each: (vectors @ each.T).max(axis=1).sum())
    cosines = vectors @ centres.T
    members = _find_members(cosines)
    counts = members.sum(axis=0)
    distances = np.where(members, 2.0 - 2.0 * cosines, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return Clusters(
        centres.astype(np.float32),
        (counts / len(vectors)).astype(np.float32),
        np.maximum(distances, 0.0).astype(np.float32),
    )


def _draw_centres(vectors, count, generator):
    """Draws vectors, each in proportion to its squared distance to those drawn before."""
    centres = vectors[[generator.integers(len(vectors))]]
    for _ in range(count - 1):
        chances = np.maximum(1.0 - (vectors @ centres.T).max(axis=1), _LEAST_CHANCE)
        chosen = generator.choice(len(vectors), p=chances / chances.sum())
        centres = np.concatenate([centres, vectors[[chosen]]])
    return centres


def _move_centres(vectors, cosines, centres):
    """Returns the direction of each cluster's sum of vectors; `centres` of those without any."""
    members = _find_members(cosines)
    sums = members.T.astype(np.float64) @ vectors
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1.0), centres)


def _find_members(cosines):
    """Returns (N, K) bool: whether a centre is a vector's nearest one."""
    return cosines.argmax(axis=1)[:, np.newaxis] == np.arange(cosines.shape[1])
