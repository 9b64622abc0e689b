"""Differences of mean IoU with intervals over images and seeds, and their joint significance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.comparison import image_counts

_DRAWS = 10_000


class Comparison(NamedTuple):
    """A difference of mean IoU in points.

    Attributes:
        mean: over the seeds, on all images.
        low: 2.5 % quantile of the bootstrap.
        high: its 97.5 % quantile.
        p: two-sided bootstrap probability of a difference of 0.
    """

    mean: float
    low: float
    high: float
    p: float


def compare(
    counts: np.ndarray, others: np.ndarray, *, block: int, draws: int = _DRAWS, seed: int = 0
) -> Comparison:
    """Compares two methods by a bootstrap over blocks of images and over seeds.

    Both methods are scored on the same images and trained with the same seeds, so every draw takes
    the same blocks and seeds of both. Neighbouring frames of a video are similar; a block of
    consecutive images is therefore drawn as a whole. Few seeds make the interval too narrow: three
    of them have ten distinct draws.

    Args:
        counts: (seeds, images, C, 3) of `image_counts.to_array`, images in their order in time.
        others: the same of the other method.
        block: images of a block; the last block may be smaller.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        The difference of the first method to the second.

    Raises:
        ValueError: the shapes differ.
    """
    if counts.shape != others.shape:
        raise ValueError(f"Counts of shapes {counts.shape} and {others.shape} cannot be paired.")
    num_seeds, num_images = counts.shape[:2]
    starts = np.arange(0, num_images, block)
    generator = np.random.default_rng(seed)
    chosen = generator.multinomial(len(starts), np.full(len(starts), 1 / len(starts)), draws)
    chosen = chosen.astype(np.float64)
    seeds = generator.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), draws)

    def score(values):
        """Returns mIoU in percent of all images (seeds,), and of each draw (draws, seeds)."""
        # Exact below 2**53; products of integers use no BLAS.
        blocks = np.add.reduceat(values, starts, axis=1).astype(np.float64)
        drawn = np.einsum("db,sbck->dsck", chosen, blocks, optimize=True)
        return 100 * image_counts.compute_miou(values.sum(axis=1)), (
            100 * image_counts.compute_miou(drawn)
        )

    (own, own_draws), (other, other_draws) = score(counts), score(others)
    differences = ((own_draws - other_draws) * seeds).sum(axis=1) / num_seeds
    low, high = np.quantile(differences, [0.025, 0.975])
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return Comparison(
        float(np.mean(own - other)),
        float(low),
        float(high),
        float(min(1.0, 2 * (tail + 1) / (draws + 1))),
    )


def adjust_by_holm(values: Sequence[float]) -> list[float]:
    """Adjusts p-values for their number (S. Holm, Scandinavian Journal of Statistics, 1979).

    Args:
        values: p-values of the claims of one table.

    Returns:
        The adjusted ones, in the same order.
    """
    adjusted = np.zeros(len(values))
    largest = 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted.tolist()


def find_rarest(counts: np.ndarray) -> tuple[int, np.ndarray]:
    """Finds the class that the fewest images hold.

    Args:
        counts: (seeds, images, C, 3).

    Returns:
        Its id, of classes that are present, and the number of images that hold each class (C,).
    """
    images = np.count_nonzero(counts[0, :, :, 1], axis=0)
    return int(np.argmin(np.where(images > 0, images, np.iinfo(np.int64).max))), images
