"""Means, standard deviations and paired differences of a few repetitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Student's t, 97.5 % quantile, for 1, 2, ... degrees of freedom.
_T_QUANTILES = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
    2.120,
    2.110,
    2.101,
    2.093,
    2.086,
)
_NORMAL_QUANTILE = 1.960


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

    The interval is mean +- t(n - 1) sd / sqrt(n); from 21 degrees of freedom on the normal
    quantile is used, which is at most 6 % too small.

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
    t = _T_QUANTILES[freedom - 1] if freedom <= len(_T_QUANTILES) else _NORMAL_QUANTILE
    reach = t * compute_sd(differences) / math.sqrt(len(differences))
    return Difference(mean, mean - reach, mean + reach)
