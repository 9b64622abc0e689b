"""Scores by which a model can be chosen without labels, and how well they choose."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.selection.selection_regret import compute_regret
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.runs.results_schema import LabelFreeScores
from drsl_tf.runs.selection import compute_agreement
from drsl_tf.runs.selection import compute_score


class Candidates:
    """The models of one run between which is chosen.

    Args:
        records: of `benchmarks.label_free`, the source stage's first.
    """

    def __init__(self, records: Sequence[dict[str, Any]]):
        self._records = list(records)
        self._entries = [LabelFreeScores(**record["label_free"]) for record in records]
        self.mious = np.array([record["miou"] for record in records])

    def compute_agreement(self, *views: str) -> np.ndarray:
        """Computes `selection.compute_agreement` of the views, by default of all."""
        return np.array([compute_agreement(entry, views or None) for entry in self._entries])

    def compute_agreement_of_predicted(self) -> np.ndarray:
        """Computes the same over the classes that the candidate predicts."""
        ious = [[list(each.values()) for each in e.agreement.values()] for e in self._entries]
        return np.nanmean(np.array(ious, np.float64), axis=(1, 2))

    def compute_score(self) -> np.ndarray:
        """Computes `selection.compute_score`."""
        return np.array([compute_score(entry) for entry in self._entries])

    def compute_class_certainty(self) -> np.ndarray:
        """Computes 1 - entropy / log C averaged over the classes, 0 for a missing one."""
        entropies = [list(entry.entropies.values()) for entry in self._entries]
        shares = 1.0 - np.array(entropies, np.float64) / math.log(len(entropies[0]))
        return np.nan_to_num(shares).mean(axis=1)

    def get(self, name: str) -> np.ndarray:
        """Returns a number of every candidate."""
        return np.array([getattr(entry, name) for entry in self._entries])

    def compute_stability(self, other: str) -> np.ndarray:
        """Computes the mean IoU with other predictions of the same images, 0 for no pixel."""
        ious = [list(record["stability"][other].values()) for record in self._records]
        return np.nan_to_num(np.array(ious, np.float64)).mean(axis=1)


SCORES: dict[str, Callable[[Candidates], np.ndarray]] = {
    "agreement": lambda c: c.compute_agreement(),
    "agreement_mirrored": lambda c: c.compute_agreement("mirrored"),
    "agreement_smaller": lambda c: c.compute_agreement("smaller"),
    "agreement_recoloured": lambda c: c.compute_agreement("recoloured"),
    "agreement_of_predicted": lambda c: c.compute_agreement_of_predicted(),
    "entropy": lambda c: -c.get("entropy"),
    "class_certainty": lambda c: c.compute_class_certainty(),
    "information": lambda c: c.get("marginal_entropy") - c.get("entropy"),
    "marginal_entropy": lambda c: c.get("marginal_entropy"),
    "density": lambda c: c.get("density"),
    "stability_source": lambda c: c.compute_stability("source"),
    "stability_others": lambda c: c.compute_stability("others"),
    "stability_vote": lambda c: c.compute_stability("vote"),
    "agreement_and_certainty": lambda c: c.compute_score(),
    "agreement_and_information": lambda c: (
        c.compute_agreement() * (c.get("marginal_entropy") - c.get("entropy"))
    ),
    "agreement_and_vote": lambda c: c.compute_agreement() * c.compute_stability("vote"),
}
"""By name, a score for every candidate of a run; the largest is chosen."""


def compute_rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Computes Spearman's rank correlation.

    Args:
        first: numbers.
        second: as many numbers.

    Returns:
        A float in [-1, 1]; NaN where all numbers of a side are equal, or there are fewer than two.
    """
    if len(first) < 2 or any(np.ptp(values) == 0 for values in (first, second)):
        return float("nan")
    return float(stats.spearmanr(first, second).statistic)


def evaluate_scores(runs: Sequence[Sequence[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Evaluates every score as the rule that chooses a model of each run.

    Args:
        runs: by run, the records of its candidates, the source stage's first.

    Returns:
        By score: "within", its mean rank correlation with mIoU within a run; "overall", that over
        all candidates of all runs; in points of mIoU "regret", the mean difference of the best
        candidate to the chosen one, "worst_regret", the largest; "gain", the mean difference of the
        chosen one to the source stage, and "least_gain".
    """
    candidates = [Candidates(records) for records in runs]
    results = {}
    for name, score in SCORES.items():
        values = [score(each) for each in candidates]
        chosen = [int(value.argmax()) for value in values]
        regrets = [compute_regret(c.mious, place) for c, place in zip(candidates, chosen)]
        gains = [c.mious[place] - c.mious[0] for c, place in zip(candidates, chosen)]
        within = [compute_rank_correlation(v, c.mious) for v, c in zip(values, candidates)]
        mious = np.concatenate([each.mious for each in candidates])
        results[name] = {
            "within": _average(within),
            "overall": compute_rank_correlation(np.concatenate(values), mious),
            "regret": float(np.mean(regrets)),
            "worst_regret": float(np.max(regrets)),
            "gain": float(np.mean(gains)),
            "least_gain": float(np.min(gains)),
        }
    return results


def _average(correlations):
    known = [value for value in correlations if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def compare_maps(maps: Sequence[np.ndarray], others: Sequence[np.ndarray], num_classes: int):
    """Computes the IoU of each class between two lists of label maps.

    Args:
        maps: (H, W) uint8 class ids each.
        others: as many of the same sizes.
        num_classes: C.

    Returns:
        (C,) float64; NaN for a class in neither.
    """
    confusion = ConfusionMatrix(num_classes)
    for first, second in zip(maps, others):
        confusion.update(first, second)
    return confusion.iou()


def vote(maps: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    """Returns the most frequent class of each pixel, the lowest id of several.

    Args:
        maps: of several models, (H, W) uint8 class ids.
        num_classes: C.

    Returns:
        (H, W) uint8.
    """
    counts = [np.sum([each == index for each in maps], axis=0) for index in range(num_classes)]
    return np.argmax(counts, axis=0).astype(np.uint8)
