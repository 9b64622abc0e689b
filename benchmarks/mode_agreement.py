"""How well modes agree with hidden classes, from tables of counts.

A table counts the pixels of a category by mode and hidden class: (K, H) integers. Its size does not
depend on the number of images. Mutual information is normalised by the geometric mean of both
entropies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_SMALLEST = 1e-12


def count_pixels(
    categories: np.ndarray, modes: np.ndarray, classes: np.ndarray, shape: Sequence[int]
) -> np.ndarray:
    """Counts pixels by category, mode and hidden class.

    Args:
        categories: (N,) integers in [0, C).
        modes: (N,) integers in [0, K).
        classes: (N,) integers in [0, H).
        shape: (C, K, H).

    Returns:
        (C, K, H) int64.
    """
    places = np.ravel_multi_index((categories, modes, classes), tuple(shape))
    return np.bincount(places, minlength=math.prod(shape)).reshape(shape)


def count_effective(counts: Sequence[int] | np.ndarray) -> float:
    """Computes the effective number of modes, exp(entropy of their usage).

    Args:
        counts: pixels of each mode.

    Returns:
        A number from 1, one mode has all pixels, to K; NaN without pixels.
    """
    counts = np.asarray(counts)
    return float(np.exp(_compute_entropy(counts))) if counts.any() else math.nan


def compute_nmi(table: np.ndarray) -> float:
    """Computes the normalised mutual information of modes and hidden classes.

    Args:
        table: (K, H) counts.

    Returns:
        A number in [0, 1]; 0 where all pixels have one mode or one class.
    """
    scale = _compute_scale(table)
    return _compute_mutual_information(table) / scale if scale else 0.0


def compute_ami(table: np.ndarray) -> float:
    """Computes the mutual information, adjusted for chance, of modes and hidden classes.

    Args:
        table: (K, H) counts.

    Returns:
        A number of at most 1, about 0 for modes that are drawn at random; 0 where all pixels have
        one mode or one class, or each its own.
    """
    from sklearn.metrics.cluster import expected_mutual_information  # Slow to import.

    scale = _compute_scale(table)
    if not scale:
        return 0.0
    table = _drop_empty(table)
    expected = expected_mutual_information(table, int(table.sum()))
    # So few pixels that every table has the largest mutual information.
    if scale - expected < _SMALLEST:
        return 0.0
    return float((_compute_mutual_information(table) - expected) / (scale - expected))


def shuffle_modes(table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws the table that a random permutation of the modes among the pixels results in.

    Args:
        table: (K, H) counts.
        rng: draws.

    Returns:
        (K, H) counts with the same sums of rows and columns.
    """
    left = table.sum(axis=0)
    rows = []
    for count in table.sum(axis=1):
        rows.append(rng.multivariate_hypergeometric(left, count, method="marginals"))
        left = left - rows[-1]
    return np.stack(rows)


def vote(table: np.ndarray) -> np.ndarray:
    """Finds the most frequent hidden class of every mode.

    Args:
        table: (K, H) counts.

    Returns:
        (K,) int64 classes; -1 for a mode without pixels.
    """
    return np.where(table.any(axis=1), table.argmax(axis=1), -1)


def compute_recalls(table: np.ndarray, votes: np.ndarray) -> dict[int, float]:
    """Computes the recall of hidden classes if each mode stands for one class.

    Args:
        table: (K, H) counts.
        votes: (K,) class of each mode, -1 for none.

    Returns:
        Hidden class -> share of its pixels in modes of this class, for the classes with pixels.
    """
    totals = table.sum(axis=0)
    return {int(c): float(table[votes == c, c].sum() / totals[c]) for c in np.flatnonzero(totals)}


def describe_tables(
    tables: np.ndarray,
    voting: np.ndarray,
    category_names: Sequence[str],
    class_names: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """Computes the agreement in every category, and its means over categories.

    Mutual information and recalls are those of the categories with more than one hidden class
    present; effective numbers are those of all categories with pixels.

    Args:
        tables: (C, K, H) counts.
        voting: (C, K, H) counts of the domain on which modes vote for hidden classes.
        category_names: the C names.
        class_names: the H names.
        seed: seed of the shuffled modes.

    Returns:
        The means "effective_modes", "nmi", "ami", "shuffled" (the NMI of shuffled modes) and
        "recall", None without such a category; "recalls" by class; "categories", the numbers of
        each category with its "usage", pixels by mode.
    """
    rng = np.random.default_rng(seed)
    categories: dict[str, dict[str, Any]] = {}
    recalls: dict[str, float] = {}
    for name, table, source in zip(category_names, tables, voting):
        usage = table.sum(axis=1)
        if not usage.any():
            continue
        entry: dict[str, Any] = {"usage": usage.tolist(), "effective_modes": count_effective(usage)}
        categories[name] = entry
        if np.count_nonzero(table.any(axis=0)) < 2:
            continue
        entry["nmi"] = compute_nmi(table)
        entry["ami"] = compute_ami(table)
        entry["shuffled"] = compute_nmi(shuffle_modes(table, rng))
        found = compute_recalls(table, vote(source))
        entry["recall"] = float(np.mean(list(found.values())))
        recalls |= {class_names[index]: recall for index, recall in found.items()}
    means: dict[str, Any] = {
        key: _average([entry[key] for entry in categories.values() if key in entry])
        for key in ("effective_modes", "nmi", "ami", "shuffled")
    }
    means["recall"] = _average(list(recalls.values()))
    return {**means, "recalls": recalls, "categories": categories}


def _average(values):
    return float(np.mean(values)) if values else None


def _drop_empty(table):
    return table[table.any(axis=1)][:, table.any(axis=0)]


def _compute_entropy(counts):
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log(shares)))


def _compute_scale(table):
    """Returns the geometric mean of the entropies of modes and classes; 0 if one of them is 0."""
    return math.sqrt(_compute_entropy(table.sum(axis=1)) * _compute_entropy(table.sum(axis=0)))


def _compute_mutual_information(table):
    joint = table / table.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    return float(np.sum(joint[filled] * np.log(joint[filled] / independent[filled])))
