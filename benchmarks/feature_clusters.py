"""k-means on the features of pixels, the baseline that modes are compared with."""

from __future__ import annotations

import numpy as np

_RESTARTS = 3


class PixelSample:
    """A uniform sample of the pixels of each category, whose memory does not grow with the images.

    Args:
        num_categories: number C of categories.
        size: most pixels of a category.
        seed: seed of the draw.
    """

    def __init__(self, num_categories: int, size: int = 20_000, seed: int = 0):
        self._size = size
        self._rng = np.random.default_rng(seed)
        # The pixels with the smallest random keys are kept.
        self._kept: list[tuple[np.ndarray, ...] | None] = [None] * num_categories

    def add(self, categories: np.ndarray, features: np.ndarray, classes: np.ndarray) -> None:
        """Offers pixels.

        Args:
            categories: (N,) integers in [0, C).
            features: (N, D) float32.
            classes: (N,) hidden classes.
        """
        keys = self._rng.random(len(categories))
        for category in np.unique(categories):
            chosen = categories == category
            arrays = keys[chosen], features[chosen], classes[chosen]
            kept = self._kept[category]
            if kept is not None:
                arrays = tuple(map(np.concatenate, zip(kept, arrays)))
            if len(arrays[0]) > self._size:
                smallest = np.argpartition(arrays[0], self._size)[: self._size]
                arrays = tuple(array[smallest] for array in arrays)
            self._kept[category] = arrays

    def get(self, category: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the sampled (n, D) features and (n,) classes of a category, None without any."""
        kept = self._kept[category]
        return None if kept is None else kept[1:]


class FeatureClusters:
    """k-means of each category, on features of unit length.

    Args:
        sample: the pixels to fit on.
        num_categories: number C of categories.
        num_clusters: number of clusters of each category, less where it has fewer pixels.
        seed: seed of k-means.
    """

    def __init__(self, sample: PixelSample, num_categories: int, num_clusters: int, seed: int = 0):
        from sklearn.cluster import KMeans  # Slow to import.

        self._models: list = [None] * num_categories
        for category in range(num_categories):
            found = sample.get(category)
            if found is not None:
                model = KMeans(
                    min(num_clusters, len(found[0])), n_init=_RESTARTS, random_state=seed
                )
                self._models[category] = model.fit(_normalise(found[0]))

    def assign(self, categories: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Finds the nearest cluster of each pixel's category.

        Args:
            categories: (N,) integers in [0, C).
            features: (N, D) float32.

        Returns:
            (N,) int64; 0 in a category without a fitted pixel.
        """
        clusters = np.zeros(len(categories), np.int64)
        for category in np.unique(categories):
            model = self._models[category]
            if model is not None:
                chosen = categories == category
                clusters[chosen] = model.predict(_normalise(features[chosen]))
        return clusters


def _normalise(features):
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return (features / np.maximum(lengths, 1e-12)).astype(np.float32)
