"""Batch normalisation's statistics, computed again over images of the target."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from data_pipelines import progress
from data_pipelines.batches import whole_images as image_batches
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import check_integer
from drsl_tf import compat
from drsl_tf.distribution.replicated import Evener
from drsl_tf.models.inference import Inference
from drsl_tf.models.inference import pad_images


class TargetStatistics:
    """Replaces the running means and variances of batch normalisation with those of the target.

    After training, running statistics are of source images, or of both domains mixed, while the
    network labels and is scored on whole target images. Statistics of the target only undo much of
    the shift between the domains (AdaBN: Y. Li et al., "Revisiting Batch Normalization for
    Practical Domain Adaptation", 2017). Computing them after every round, so that each round's
    labels come from such a network, is this project's choice.

    No label is read and no weight changes. Layers that do not train keep their statistics, so a
    network of frozen batch normalisation is unchanged. The result depends only on the weights and
    the images: every replica and every machine processes all of them, and dropout and stochastic
    depth are off.

    With a prior the statistics that training left are kept in part: those of n target images and
    of the N images of the prior are combined as if all were measured together, so training's have
    the share N / (N + n) (S. Schneider et al., "Improving robustness against common corruptions by
    covariate shift adaptation", NeurIPS 2020; there a variance is the mean of both variances, here
    the squared difference of the means adds to it). Training's are the source's after the source
    stage, and those of both domains after a round, unless the rounds freeze them.

    It does not help on every target: between two sets of photos it costs points
    (`docs/results.md`), so it is off by default.

    Args:
        images: number of the target's training images, evenly spaced over its list; 0 is all.
        prior_images: number of images, N, that the statistics of training count as, beside the
            target images measured; 0 replaces them.
    """

    def __init__(self, *, images: int = 200, prior_images: int = 0):
        check_integer("TargetStatistics.images", images, least=0)
        check_integer("TargetStatistics.prior_images", prior_images, least=0)
        self._images = images
        self._prior_images = prior_images

    @property
    def uses_prior(self) -> bool:
        """Whether the statistics in the model have a share in the new ones."""
        return self._prior_images > 0

    def update(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        domain: Domain,
        pairs: Sequence[Pair],
        inference: Inference = Inference(),
        *,
        title: str = "statistics",
    ) -> None:
        """Computes the statistics of the target and stores them in the model.

        With m_i and v_i the mean and variance of batch i, the mean is that of the m_i, and the
        variance mean(v_i + m_i^2) - mean(m_i)^2, as if all batches were one; batches are weighted
        by their number of images. A prior is one more batch, with the model's own statistics.

        Args:
            model: a built `DrslModel`.
            strategy: distribution strategy of its variables.
            domain: the target.
            pairs: its training images.
            inference: size and number of the images in a batch, by whose statistics each layer's
                inputs are normalised, as in training.
            title: text of the progress bar.

        Raises:
            UserError: an image cannot be read.
        """
        layers = find_batch_norms(model)
        if not layers:
            logging.info("No batch normalisation trains: its statistics stay as they are.")
            return
        chosen = image_batches.spread_evenly(pairs, self._images or len(pairs))
        measure = tf.function(
            lambda images: strategy.run(lambda x: _measure(model, layers, x), args=(images,)),
            reduce_retracing=True,
        )
        prior = _read(model, strategy) if self.uses_prior else None
        sums: list[Any] = [0.0] * len(layers)
        batches = image_batches.iterate_image_batches(
            chosen, domain.read_image, size=inference.size, batch_size=inference.batch_size
        )
        with (
            _measuring(layers),
            progress.make_progress_bar(len(chosen), title, "image") as bar,
        ):
            for batch in batches:
                count = len(batch.pairs)
                moments = _split(measure(tf.constant(batch.images)), strategy)
                for place, (mean, variance) in enumerate(zip(*moments)):
                    sums[place] += count * np.stack([mean, variance + mean**2])
                bar.update(count)
        averages = [value / len(chosen) for value in sums]
        means, squares = ([average[part] for average in averages] for part in (0, 1))
        # A constant channel's variance can round to below 0.
        variances = [np.maximum(square - mean**2, 0.0) for square, mean in zip(squares, means)]
        if prior is not None:
            share = self._prior_images / (self._prior_images + len(chosen))
            means, variances = mix_moments((means, variances), prior, share)
        store = tf.function(
            lambda values: strategy.run(lambda x: _store(layers, x), args=(values,))
        )
        store([tf.constant(value, tf.float32) for value in (*means, *variances)])


def find_batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Finds the batch normalisations whose statistics training updates.

    Args:
        model: any Keras model.

    Returns:
        The layers, nested ones too.
    """
    # pylint: disable-next=protected-access
    layers = model._flatten_layers(recursive=True, include_self=False)
    return [
        layer
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


def list_statistics(model: keras.Model) -> list[tf.Variable]:
    """Lists the variables that `TargetStatistics` sets.

    Args:
        model: any Keras model.

    Returns:
        The means of all layers of `find_batch_norms`, then their variances.
    """
    layers = find_batch_norms(model)
    variables = [*(x.moving_mean for x in layers), *(x.moving_variance for x in layers)]
    return [compat.as_tf_variable(variable) for variable in variables]


def mix_moments(
    moments: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    others: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    share: float,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Computes means and variances of mixtures of two distributions.

    Args:
        moments: means and variances.
        others: those of the other distribution of each pair, of the same shapes.
        share: share of the other one, in [0, 1].

    Returns:
        Means and variances, by the law of total variance.
    """
    means, variances = [], []
    for mean, variance, other_mean, other_variance in zip(*moments, *others):
        shift = other_mean - mean
        means.append(mean + share * shift)
        within = (1.0 - share) * variance + share * other_variance
        variances.append(within + share * (1.0 - share) * shift**2)
    return means, variances


def _read(model, strategy):
    """Returns the model's own means and variances, float64; collective on several machines."""
    variables = list_statistics(model)
    Evener(variables, strategy).even_out()

    def read():
        return [tf.identity(variable) for variable in variables]

    return _split(tf.function(lambda: strategy.run(read))(), strategy)


def _split(values, strategy):
    """Returns means and variances, float64, of the values of `list_statistics` in any replica."""
    values = [np.float64(strategy.experimental_local_results(value)[0]) for value in values]
    return values[: len(values) // 2], values[len(values) // 2 :]


@contextlib.contextmanager
def _measuring(layers) -> Iterator[None]:
    """Runs only these layers as in training, each batch replacing their statistics.

    Calling the whole network as in training would also enable dropout and stochastic depth, whose
    draws change the inputs of the following layers.
    """
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
            layer.call = functools.partial(_call_as_in_training, layer.call)
        yield
    finally:
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum
            vars(layer).pop("call", None)  # Restores the method of the class.


def _call_as_in_training(call, inputs, training=None, mask=None):
    del training
    return call(inputs, training=True, mask=mask)


def _measure(model, layers, images):
    """Returns the values of `list_statistics` for one batch; every replica processes all of it."""
    for layer in layers:
        # From 0 the step to the batch's statistics is exact: x - (x - y) is not always y.
        layer.moving_mean.assign(tf.zeros_like(layer.moving_mean))
        layer.moving_variance.assign(tf.zeros_like(layer.moving_variance))
    model(pad_images(images, model.size_multiple), training=False)
    return [tf.identity(variable) for variable in list_statistics(model)]


def _store(layers, values):
    """Assigns the means, then the variances."""
    for layer, mean, variance in zip(layers, values[: len(layers)], values[len(layers) :]):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
