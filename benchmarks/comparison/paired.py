"""Means, standard deviations and paired differences of a few repetitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Difference(NamedTuple):
    """A mean of paired differences.

    Attributes:
        mean: the mean.
        low: lower end of the 95 % t-interval; None for a single pair.
        high: its upper end.
    """

    mean: float
    low: float | None
    high: float | None


def compute_sd(values: Sequence[float]) -> float | None:
    """Computes the standard deviation of a sample (n - 1 in the divisor).

    Args:
        values: numbers.

    Returns:
        The deviation; None for a single number.
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def compare_pairs(values: Sequence[float], others: Sequence[float]) -> Difference:
    """Computes the mean of `values - others` and its 95 % t-interval.

    The interval is mean +- t(n - 1) sd / sqrt(n).

    Args:
        values: numbers.
        others: as many numbers, in the same order of seeds.

    Returns:
        The difference.

    Raises:
        ValueError: the lengths differ or are 0.
    """
    if len(values) != len(others) or not values:
        raise ValueError(f"{len(values)} and {len(others)} values cannot be paired.")
    differences = np.subtract(values, others)
    mean = float(np.mean(differences))
    freedom = len(differences) - 1
    if not freedom:
        return Difference(mean, None, None)
    reach = stats.t.ppf(0.975, freedom) * compute_sd(differences) / math.sqrt(len(differences))
    return Difference(mean, mean - reach, mean + reach)
