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


def compute_agreement(table: np.ndarray) -> dict[str, float]:
    """Computes the mutual information of modes and hidden classes.

    Args:
        table: (K, H) counts.

    Returns:
        "nmi", normalised, in [0, 1]; "shuffled", its expectation if the modes are permuted among
        the pixels; "ami", adjusted for that, of at most 1. All are 0 where the pixels have one
        mode or one class; "ami" is too where each has its own.
    """
    from sklearn.metrics.cluster import expected_mutual_information  # Slow to import.

    scale = math.sqrt(_compute_entropy(table.sum(axis=1)) * _compute_entropy(table.sum(axis=0)))
    if not scale:
        return {"nmi": 0.0, "shuffled": 0.0, "ami": 0.0}
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    nmi = _compute_mutual_information(table) / scale
    expected = float(expected_mutual_information(table, int(table.sum()))) / scale
    # With next to no pixels, every table has the largest mutual information.
    ami = (nmi - expected) / (1 - expected) if 1 - expected > _SMALLEST else 0.0
    return {"nmi": nmi, "shuffled": expected, "ami": ami}


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
) -> dict[str, Any]:
    """Computes the agreement in every category, and its means over categories.

    Mutual information and recalls are those of the categories with more than one hidden class
    present; effective numbers are those of all categories with pixels.

    Args:
        tables: (C, K, H) counts.
        voting: (C, K, H) counts of the domain on which modes vote for hidden classes.
        category_names: the C names.
        class_names: the H names.

    Returns:
        The means "effective_modes", "nmi", "ami", "shuffled" and "recall", None without such a
        category; "recalls" by class; "categories", the numbers of each category with its "usage",
        pixels by mode.
    """
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
        entry |= compute_agreement(table)
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


def _compute_entropy(counts):
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log(shares)))


def _compute_mutual_information(table):
    joint = table / table.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    return float(np.sum(joint[filled] * np.log(joint[filled] / independent[filled])))
