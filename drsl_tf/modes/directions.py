"""Principal directions of vectors of several classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def find_directions(vectors: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Finds the directions of the largest mean square, each class counting alike.

    Principal component analysis without subtracting the mean: angles, by which modes are compared,
    are about the origin.

    Args:
        vectors: (N_c, D) float32 of each class, N_c at least 1.
        count: number of directions, at most D.

    Returns:
        (D, count) float32, orthonormal columns, in the order of their mean squares.
    """
    moments = sum(each.T @ each / len(each) for each in vectors)
    directions = np.linalg.eigh(np.asarray(moments, np.float64))[1]
    return directions[:, ::-1][:, :count].astype(np.float32)
