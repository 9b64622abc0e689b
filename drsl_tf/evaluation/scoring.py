"""Scores whatever predicts label maps on a labelled split."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

from data_pipelines import progress
from data_pipelines.batches import images as image_batches
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from drsl_tf.evaluation.confusion import ConfusionMatrix


def score_split(
    predict: Callable[[np.ndarray, int, int], np.ndarray],
    num_classes: int,
    domain: Domain,
    pairs: Sequence[Pair],
    *,
    size: tuple[int, int] | None = None,
    batch_size: int = 4,
    description: str = "evaluating",
    on_prediction: Callable[[Pair, np.ndarray], None] | None = None,
) -> ConfusionMatrix:
    """Predicts every image of a split and counts hits and misses at the labels' resolution.

    Args:
        predict: called with images (n, h, w, 3) float32 in [0, 255] and the height and width of
            their labels; gives (n, height, width) integer class ids.
        num_classes: the number C of classes.
        domain: reads the files.
        pairs: images with labels.
        size: (height, width) to which images are resized first; None keeps each at its own.
        batch_size: images at once.
        description: what the progress bar says.
        on_prediction: called with each pair and its (H, W) uint8 prediction.

    Returns:
        The confusion matrix over all pixels of all pairs.
    """
    confusion = ConfusionMatrix(num_classes)
    batches = image_batches.iterate_image_batches(
        pairs, domain.read_image, domain.read_label, size=size, batch_size=batch_size
    )
    with progress.make_progress_bar(len(pairs), description, "image") as bar:
        for batch in batches:
            assert batch.labels is not None  # A reader of labels was given.
            height, width = batch.labels.shape[1:]
            predictions = predict(batch.images, height, width).astype(np.uint8)
            confusion.update(batch.labels, predictions)
            if on_prediction is not None:
                for pair, prediction in zip(batch.pairs, predictions):
                    on_prediction(pair, prediction)
            bar.update(len(batch.pairs))
    return confusion
