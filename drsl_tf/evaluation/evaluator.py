"""Scores the predictions of a model or a function on a labelled split."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from data_pipelines import progress
from data_pipelines.batches import whole_images as image_batches
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from drsl_tf.distribution.replicated import ReplicatedFunction
from drsl_tf.distribution.workers import Workers
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.models.inference import Inference
from drsl_tf.models.inference import predict_full_size_logits
from drsl_tf.models.model import DrslModel


class Evaluator:
    """Predicts every image of a split and scores it at the labels' resolution.

    On several machines each process predicts its share of the images.

    Args:
        model: a `DrslModel`; its weights are read at every call.
        strategy: distribution strategy of the model.
        inference: size and number of the images in a batch.
    """

    def __init__(
        self,
        model: DrslModel,
        strategy: tf.distribute.Strategy,
        inference: Inference = Inference(),
    ):
        self._inference = inference
        self._num_classes = model.num_classes

        def predict(images, height, width):
            logits = predict_full_size_logits(model, images)
            if inference.size is not None:
                logits = tf.image.resize(logits, (height, width))
            return (tf.argmax(logits, axis=-1, output_type=tf.int32),)

        self._predict = ReplicatedFunction(predict, strategy)
        self._workers = Workers(strategy)

    def evaluate(
        self,
        domain: Domain,
        pairs: Sequence[Pair],
        *,
        description: str = "evaluating",
        on_prediction: Callable[[Pair, np.ndarray], None] | None = None,
    ) -> ConfusionMatrix:
        """Evaluates the model with its current weights.

        Args:
            domain: reads the files.
            pairs: images with labels.
            description: text of the progress bar.
            on_prediction: called with each pair and its (H, W) uint8 prediction, in the process
                that predicted it.

        Returns:
            The confusion matrix over all pixels of all pairs.
        """
        confusion = score_split(
            lambda *batch: self._predict(batch[0], *map(tf.constant, batch[1:]))[0],
            self._num_classes,
            domain,
            self._workers.share(pairs),
            size=self._inference.size,
            batch_size=self._inference.batch_size,
            description=description,
            on_prediction=on_prediction,
        )
        return ConfusionMatrix.from_matrix(self._workers.sum(confusion.matrix))


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
    """Predicts every image of a split and scores it at the labels' resolution.

    Args:
        predict: called with images (n, h, w, 3) float32 in [0, 255] and the height and width of
            their labels; returns (n, height, width) integer class ids.
        num_classes: the number C of classes.
        domain: reads the files.
        pairs: images with labels.
        size: (height, width) to which images are resized first; None keeps each image's own.
        batch_size: images per batch.
        description: text of the progress bar.
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
