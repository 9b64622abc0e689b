"""Principal directions of vectors of several classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def find_directions(vectors: Sequence[np.ndarray], reference: np.ndarray) -> np.ndarray:
    """Finds the directions of the largest mean square, each class counting equally.

    Principal component analysis without subtracting the mean: angles, by which modes are compared,
    are about the origin. Signs and the order of directions of equal mean squares are arbitrary, and
    could differ from one machine to the next. So the basis returned is, of all orthonormal ones of
    the same span, the nearest to a reference (orthogonal Procrustes problem).

    Args:
        vectors: (N_c, D) float32 of each class, N_c at least 1.
        reference: (D, n), n at most D.

    Returns:
        (D, n) float32 of orthonormal columns.
    """
    moments = sum(each.T @ each / len(each) for each in vectors)
    directions = np.linalg.eigh(np.asarray(moments, np.float64))[1][:, -reference.shape[1] :]
    left, _, right = np.linalg.svd(directions.T @ reference.astype(np.float64))
    return (directions @ left @ right).astype(np.float32)
