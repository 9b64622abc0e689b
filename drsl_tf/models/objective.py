"""The loss of one batch: its terms, their means and the weighted sum."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from drsl_tf import common
from drsl_tf.losses import segmentation
from drsl_tf.losses.mode_terms import ModeTerms
from drsl_tf.losses.term_means import TermMeans
from drsl_tf.models import batch_forms
from drsl_tf.models import inference

_BY_CLASS = ("dml_", "posterior_", "siblings_")
"""Prefixes of the terms that may be averaged over classes."""


class Objective:
    """Combines the terms of the loss, as defined by `DrslModel`.

    Each term has a row of sums and one of counts, G groups in total. They are added over replicas
    and over the parts of a batch before they are divided.

    Attributes:
        mode_terms: computes the terms on the embedding; None without a multi-modal head.
        means: divides the sums by the counts; with `weigh` the only place where a loss is divided.

    Args:
        weights: factor of each term by its name: "ce_", "dml_", "posterior_" or "siblings_" with
            "source" or "target", "ce_masked", "kld_target", "feature_distance" or "sma".
        mode_terms: see above.
        num_classes: C.
        class_weights: C factors of "ce_source" by class; None is 1 for all.
        class_balance: whether margin, posterior and sibling losses are means over classes.
        pool_cross_entropy: whether "ce_source" and "ce_target" are divided by one count, that of
            the labelled pixels of both domains, each times its weight.
        logits_stride: image pixels per logit.
        embedding_stride: image pixels per embedding.
    """

    def __init__(
        self,
        weights: dict[str, float],
        mode_terms: ModeTerms | None,
        *,
        num_classes: int,
        class_weights: Sequence[float] | None,
        class_balance: bool,
        pool_cross_entropy: bool,
        logits_stride: int,
        embedding_stride: int,
    ):
        self._weights = dict(weights)
        self.mode_terms = mode_terms
        self._num_classes = num_classes
        self._class_weights = None if class_weights is None else tf.constant(class_weights)
        self._class_balance = class_balance
        self._logits_stride = logits_stride
        self._embedding_stride = embedding_stride
        groups = [
            num_classes if class_balance and name.startswith(_BY_CLASS) else 1
            for name in self._weights
        ]
        self.means = TermMeans(groups)
        pooled = ("ce_source", "ce_target") if pool_cross_entropy else ()
        self._is_pooled = tf.constant([name in pooled for name in self._weights])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the terms, in the order of their means."""
        return tuple(self._weights)

    @property
    def is_countable(self) -> tf.Tensor:
        """(G,) bool: False for terms without a count before the network has run."""
        uncountable = ("sma", "feature_distance")
        return self.means.join([tf.constant(name not in uncountable) for name in self._weights])

    def compute_sums(
        self,
        outputs: dict[str, tf.Tensor],
        batch: dict[str, dict[str, tf.Tensor]],
        modes: tf.Tensor | None,
        seed: tf.Tensor,
        further_terms: dict[str, tuple[tf.Tensor, tf.Tensor]] | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the sums and counts of this replica's batch.

        Args:
            outputs: what the model returns for the source images, followed by the target images
                and, where there are any, the masked ones.
            batch: what `DrslModel.prepare_batch` returns. Without target images the sums
                and counts of their terms are 0. Weights change the sums and not the counts.
            modes: (C, K, d) float32 of unit vectors, or None without a multi-modal head.
            seed: (2,) int32, seed of the alignment's draws.
            further_terms: sums and counts of terms that the model computes itself, if any.

        Returns:
            Two tensors, (G,) float32.
        """
        parts = _find_parts(batch)
        size = tf.shape(batch[common.SOURCE][common.LABEL])[1:3]
        logits = inference.upsample_logits(outputs[common.LOGITS], self._logits_stride, size)
        terms = {
            f"ce_{domain}": segmentation.cross_entropy_loss(
                logits[part],
                batch[domain][common.LABEL],
                weights=self._weigh_pixels(domain, batch[domain]),
            )
            for domain, part in parts.items()
        }
        if self.mode_terms is not None:
            pixels = self.select_pixels(outputs, batch)
            terms.update(self.mode_terms.compute(pixels, modes, seed))
        if "kld_target" in self._weights and common.TARGET in parts:
            terms["kld_target"] = segmentation.uniform_divergence_loss(
                logits[parts[common.TARGET]], batch[common.TARGET][common.LABEL]
            )
        terms.update(further_terms or {})
        nothing = (tf.constant(0.0), tf.constant(0.0))
        sums, counts = zip(*(terms.get(name, nothing) for name in self._weights))
        return self.means.join(sums), self.means.join(counts)

    def select_pixels(
        self, outputs: dict[str, tf.Tensor], batch: dict[str, dict[str, tf.Tensor]]
    ) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        """Selects the pixels for the losses on the embedding.

        Args:
            outputs: as in `compute_sums`, of a model with a multi-modal head.
            batch: as in `compute_sums`.

        Returns:
            For "source" and "target", where there are images, the embedding (N, d) float32 and its
            labels (N,) int32.
        """
        embedding = outputs[common.EMBEDDING]
        return {
            domain: (
                tf.reshape(embedding[part], (-1, embedding.shape[-1])),
                tf.reshape(
                    segmentation.sample_labels(
                        _get_mode_labels(batch[domain]), tf.shape(embedding)[1:3]
                    ),
                    (-1,),
                ),
            )
            for domain, part in _find_parts(batch).items()
            if domain != common.MASKED
        }

    def _weigh_pixels(self, domain, half):
        """Returns factors of the cross-entropy of each pixel, (B, H, W) float32, or None."""
        weights = half.get(common.WEIGHT)
        if domain != common.SOURCE or self._class_weights is None:
            return weights
        labels = half[common.LABEL]
        valid = tf.not_equal(labels, common.IGNORE_ID)
        factors = tf.gather(self._class_weights, tf.where(valid, labels, 0))
        return factors if weights is None else factors * weights

    def count_pixels(self, batch: dict[str, dict[str, tf.Tensor]]) -> tf.Tensor:
        """Counts the pixels that each term is averaged over, without running the network.

        Args:
            batch: what `DrslModel.prepare_batch` returns.

        Returns:
            (G,) float32; 0 where `is_countable` is False.
        """
        counts = {}
        for domain, half in batch.items():
            labels = _get_mode_labels(half)
            size = -(-tf.shape(labels)[1:3] // self._embedding_stride)
            labels = segmentation.sample_labels(labels, size)
            if self._class_balance:
                is_class = tf.equal(tf.reshape(labels, (-1, 1)), tf.range(self._num_classes))
                counted = tf.cast(tf.math.count_nonzero(is_class, axis=0), tf.float32)
            else:
                counted = _count_valid(labels)
            counts[f"ce_{domain}"] = _count_valid(half[common.LABEL])
            counts[f"kld_{domain}"] = counts[f"ce_{domain}"]
            for name in _BY_CLASS:
                counts[name + domain] = counted
        return self.means.join([counts.get(name, 0.0) for name in self._weights])

    def weigh(self, means: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """Computes the weighted sum of the terms' means; the only place that weights them.

        Args:
            means: (terms,) float32.
            counts: (G,) float32, of the whole batch.

        Returns:
            The loss, a float32 scalar.
        """
        weights = tf.constant(list(self._weights.values()))
        # One mean over the pixels of two terms is the mean of their means by shares of the pixels.
        pixels = tf.where(self._is_pooled, weights * self.means.add_groups(counts), 0.0)
        shares = tf.math.divide_no_nan(pixels, tf.reduce_sum(pixels))
        return tf.reduce_sum(means * tf.where(self._is_pooled, shares, weights))


def _find_parts(batch):
    """Returns the slice of each domain's images in the outputs, for domains that have any."""
    parts, end = {}, 0
    for domain, half in batch.items():
        if batch_forms.has_images(half):
            begin, end = end, end + tf.shape(half[common.IMAGE])[0]
            parts[domain] = slice(begin, end)
    return parts


def _get_mode_labels(half):
    return half.get(common.MODE_LABEL, half[common.LABEL])


def _count_valid(labels):
    return tf.cast(tf.math.count_nonzero(tf.not_equal(labels, common.IGNORE_ID)), tf.float32)
