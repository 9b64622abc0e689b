"""Scores of a model on unlabelled images, for a choice between models without labels."""

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
from drsl_tf.runs.results_schema import LabelFreeScores
from drsl_tf.self_training import image_draws
from drsl_tf.self_training import student_view

VIEWS = ("mirrored", "smaller", "recoloured")
"""The views of an image on which the prediction should be the same."""

_SMALLER = 0.75
_JITTER = 0.2
_SEED = (0, 0)
# Sums are kept as multiples of this, so that they do not depend on the order of their parts.
_UNIT = 2.0**-24
# As in the paper of the neighbourhood density, on a grid of pixels.
_TEMPERATURE = 0.05
_GRID = (12, 24)


class LabelFreeScorer:
    """Scores predictions by themselves: no label of the target is read.

    Images are predicted as they are and in three views: mirrored, at 0.75 of their size, and with
    changed colours and blur, the same change of an image for every model. The predictions of the
    views, mapped back, are compared with that of the image by the IoU of each class. Entropies are
    those of the prediction of the image. The neighbourhood density (K. Saito et al., "Tune it the
    Right Way", ICCV 2021) is the mean entropy of the distribution, over other pixels of the image,
    that the similarities of their predictions define.

    Memory is that of the logits of one batch, as in evaluation, and of tables of the classes. On
    several machines each process predicts its share of the images; the scores are equal in all.

    Args:
        model: a `DrslModel`; its weights are read at every call.
        strategy: distribution strategy of the model.
        inference: size and number of the images in a batch.
        images: number of images, evenly spaced over those given; 0 is all.
    """

    def __init__(
        self,
        model: DrslModel,
        strategy: tf.distribute.Strategy,
        inference: Inference = Inference(),
        *,
        images: int = 100,
    ):
        self._inference = inference
        self._images = images
        self._num_classes = model.num_classes
        self._workers = Workers(strategy)

        def compute_logits(images):
            logits = predict_full_size_logits(model, images)
            # Without a finite prediction all classes are equal, which is the worst score.
            is_finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1, keepdims=True)
            return tf.where(is_finite, logits, 0.0)

        def describe(images):
            logits = compute_logits(images)
            # One image after the other, as each needs several maps of all classes.
            return tf.map_fn(
                _describe,
                logits,
                fn_output_signature=(tf.uint8, tf.float32, tf.float32, tf.float32),
                parallel_iterations=1,
            )

        def predict(images, height, width):
            logits = compute_logits(images)
            return (_find_classes(tf.image.resize(logits, (height, width))),)

        self._describe = ReplicatedFunction(describe, strategy)
        self._predict = ReplicatedFunction(predict, strategy)

    def score(
        self,
        domain: Domain,
        pairs: Sequence[Pair],
        *,
        description: str = "scoring without labels",
        on_prediction: Callable[[Pair, np.ndarray], None] | None = None,
    ) -> LabelFreeScores:
        """Scores the model with its current weights.

        Args:
            domain: reads the images.
            pairs: images; their labels are not read.
            description: text of the progress bar.
            on_prediction: called with each pair and its (H, W) uint8 prediction at the size of the
                network's input, in the process that predicted it.

        Returns:
            The scores.

        Raises:
            UserError: an image cannot be read.
        """
        chosen = image_batches.spread_evenly(pairs, self._images or len(pairs))
        places = self._workers.share(range(len(chosen)))
        shared = [chosen[place] for place in places]
        draws = image_draws.draw(len(chosen), 7, seed=tf.constant(_SEED)).numpy()[places]
        confusions = [ConfusionMatrix(self._num_classes) for _ in VIEWS]
        # Rows: entropies by predicted class, probabilities by class, density in the first column.
        sums = np.zeros((3, self._num_classes), np.int64)
        done = 0
        batches = image_batches.iterate_image_batches(
            shared,
            domain.read_image,
            size=self._inference.size,
            batch_size=self._inference.batch_size,
        )
        with progress.make_progress_bar(len(shared), description, "image") as bar:
            for batch in batches:
                prediction, entropy, probability, density = self._describe(batch.images)
                sums[0] += _sum_by_class(entropy, prediction, self._num_classes)
                sums[1] += _to_units(probability).sum(axis=0)
                sums[2, 0] += _to_units(density).sum()
                views = self._predict_views(batch.images, draws[done : done + len(prediction)])
                for confusion, view in zip(confusions, views):
                    confusion.update(prediction, view)
                if on_prediction is not None:
                    for pair, each in zip(batch.pairs, prediction):
                        on_prediction(pair, each)
                done += len(prediction)
                bar.update(len(prediction))
        tables = self._workers.sum(np.stack([each.matrix for each in confusions]))
        entropies, probabilities, densities = _UNIT * self._workers.sum(sums)
        return _make_scores(
            domain.label_space.class_names,
            tables,
            entropies,
            probabilities / len(chosen),
            densities[0] / len(chosen),
            len(chosen),
        )

    def _predict_views(self, images, draws):
        """Yields the predictions of the views in the order of `VIEWS`, mapped back."""
        height, width = images.shape[1:3]
        size = tf.constant(height), tf.constant(width)
        yield self._predict(images[:, :, ::-1], *size)[0][:, :, ::-1]
        smaller = [max(1, round(_SMALLER * side)) for side in (height, width)]
        yield self._predict(tf.image.resize(images, smaller, antialias=True).numpy(), *size)[0]
        recoloured = student_view.augment_strongly(
            tf.constant(images), draws, jitter=_JITTER, jitter_chance=1.0, blur_chance=1.0
        )
        yield self._predict(recoloured.numpy(), *size)[0]


def _find_classes(logits):
    return tf.cast(tf.argmax(logits, axis=-1), tf.uint8)


def _describe(logits):
    """Returns classes and entropies (H, W), mean probabilities (C,) and the density of an image."""
    log_probability = tf.nn.log_softmax(logits)
    probability = tf.exp(log_probability)
    entropy = -tf.reduce_sum(probability * log_probability, axis=-1)
    density = _compute_density(probability)
    return _find_classes(logits), entropy, tf.reduce_mean(probability, (0, 1)), density


def _compute_density(probability):
    """Computes the mean over pixels of the entropy of the similarities to the others."""
    size = tf.shape(probability)[:2]
    for axis, count in enumerate(_GRID):
        # The centres of cells that cover the image; some pixels repeat in smaller images.
        places = (2 * tf.range(count) + 1) * size[axis] // (2 * count)
        probability = tf.gather(probability, places, axis=axis)
    count = _GRID[0] * _GRID[1]
    features = tf.math.l2_normalize(tf.reshape(probability, (count, -1)), axis=-1)
    similarity = tf.matmul(features, features, transpose_b=True) / _TEMPERATURE
    similarity -= 1e9 * tf.eye(count)
    log_share = tf.nn.log_softmax(similarity)
    return -tf.reduce_mean(tf.reduce_sum(tf.exp(log_share) * log_share, axis=-1))


def _to_units(values):
    return np.rint(values.astype(np.float64) / _UNIT).astype(np.int64)


def _sum_by_class(values, classes, num_classes):
    sums = [
        np.bincount(each.ravel(), weights=value.ravel(), minlength=num_classes)
        for each, value in zip(classes, values)
    ]
    return sum(map(_to_units, sums))


def _make_scores(class_names, tables, entropies, probabilities, density, count):
    pixels = tables[0].sum(axis=1)
    views = [ConfusionMatrix.from_matrix(table).iou() for table in tables]
    known = probabilities[probabilities > 0]
    return LabelFreeScores(
        images=count,
        pixels=dict(zip(class_names, pixels.tolist())),
        agreement={
            view: {
                name: None if np.isnan(value) else float(value)
                for name, value in zip(class_names, iou)
            }
            for view, iou in zip(VIEWS, views)
        },
        entropies={
            name: float(total / number) if number else None
            for name, total, number in zip(class_names, entropies, pixels)
        },
        entropy=float(entropies.sum() / pixels.sum()),
        marginal_entropy=float(-np.sum(known * np.log(known))),
        density=float(density),
    )
