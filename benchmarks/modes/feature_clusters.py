"""k-means on the features of pixels, the baseline that modes are compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_RESTARTS = 3


class FeatureClusters:
    """k-means of each category, on features of unit length.

    Args:
        sample: by category the features to fit on, (n, D) float32.
        num_clusters: number of clusters of each category, less where it has fewer pixels.
        seed: seed of k-means.
    """

    def __init__(self, sample: Mapping[int, np.ndarray], num_clusters: int, seed: int = 0):
        from sklearn.cluster import KMeans  # Slow to import.

        self._models = {
            category: KMeans(
                min(num_clusters, len(features)), n_init=_RESTARTS, random_state=seed
            ).fit(_normalise(features))
            for category, features in sample.items()
        }

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
            model = self._models.get(category)
            if model is not None:
                chosen = categories == category
                clusters[chosen] = model.predict(_normalise(features[chosen]))
        return clusters


def _normalise(features):
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return (features / np.maximum(lengths, 1e-12)).astype(np.float32)
