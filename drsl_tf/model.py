"""The DRSL model: one base network, two heads, and the losses put together."""

from __future__ import annotations

import copy
from typing import Optional

import keras
import tensorflow as tf

from drsl_tf import common
from drsl_tf import compat
from drsl_tf import inference
from drsl_tf.gradient_update import GradientUpdate
from drsl_tf.losses import segmentation
from drsl_tf.losses.mode_terms import ModeTerms
from drsl_tf.losses.term_means import TermMeans

_PROBE_SIZE = 64
_BY_CLASS = ("dml_", "posterior_")
"""How the terms begin whose means may be over classes."""


@keras.saving.register_keras_serializable(package="drsl_tf")
class DrslModel(keras.Model):
    """Segmentation model with a multi-modal head, trained by DRSL (arXiv 2206.09683).

    Called on images (B, H, W, 3), float32 in [0, 255], it returns `{"logits": (B, h, w, C)
    float32, "embedding": (B, h, w, d) float32}`; without a multi-modal head the embedding is
    missing and training is cross-entropy self-training.

    Source and target images pass through the network in ONE forward pass, so in training batch
    normalisation normalises both with the statistics of both.

    The loss, each term divided by its own count over all replicas:

        L = L_ce(s) + target_weight L_ce(t) + dml_weight (L_dml(s) + L_dml(t))
            + posterior_weight (L_mce(s) + L_mce(t)) + sma_weight L_sma

    The terms are the paper's, L_mce, margin and sigma RepMet's; their sum, weights, sampling and
    the mean over classes are this project's choices (`docs/method.md`).

    Args:
        base: keras.Model from images to a dict of feature maps with the key "features".
        segmentation_head: keras.layers.Layer from that dict to logits.
        multimodal_head: a `MultimodalHead` from that dict to embeddings, or None.
        target_weight: weight of the cross-entropy on pseudo-labels.
        dml_weight: weight of the margin loss on distances to modes.
        posterior_weight: weight of the cross-entropy on mode posteriors. It draws every mode of a
            class to its pixels, the margin loss the nearest one alone, and so keeps modes in use.
        sma_weight: weight of stochastic mode alignment.
        margin: the margin alpha on squared distances, of unit-length vectors.
        sigma: width of the mode posteriors.
        samples_per_mode: most pixels that one mode aligns in one domain, a step and a replica.
        class_balance: whether L_dml and L_mce are means over the classes present, of the mean over
            each one's pixels; otherwise they are means over all pixels, most of which are road,
            building and sky.
        seed: seed of the mode alignment's draws, together with the optimizer's step.
        name: the model's name.
    """

    labels_online = False
    """Whether the model labels its target images itself, in every step."""

    def __init__(
        self,
        base,
        segmentation_head,
        multimodal_head=None,
        *,
        target_weight: float = 1.0,
        dml_weight: float = 1.0,
        posterior_weight: float = 0.0,
        sma_weight: float = 0.1,
        margin: float = 0.5,
        sigma: float = 0.5,
        samples_per_mode: int = 64,
        class_balance: bool = True,
        seed: int = 0,
        name: Optional[str] = "drsl_model",
    ):
        super().__init__(name=name)
        self.base = base
        self.segmentation_head = segmentation_head
        self.multimodal_head = multimodal_head
        self._settings = {
            "target_weight": target_weight,
            "dml_weight": dml_weight,
            "posterior_weight": posterior_weight,
            "sma_weight": sma_weight,
            "margin": margin,
            "sigma": sigma,
            "samples_per_mode": samples_per_mode,
            "class_balance": class_balance,
            "seed": seed,
        }
        self._term_weights = {
            "ce_source": 1.0,
            "ce_target": target_weight,
            "dml_source": dml_weight,
            "dml_target": dml_weight,
            "posterior_source": posterior_weight,
            "posterior_target": posterior_weight,
            "sma": sma_weight,
        }
        if multimodal_head is None:
            self._term_weights = {
                name: weight
                for name, weight in self._term_weights.items()
                if name.startswith("ce_")
            }
        self._term_weights = {
            name: float(weight) for name, weight in self._term_weights.items() if weight
        }
        self._loss_metrics = {
            name: keras.metrics.Mean(name=name) for name in ("loss", *self._term_weights)
        }
        # A first call creates every variable: checkpoints, optimizers and Keras 3's `compile`
        # all need them to exist.
        outputs = self(tf.zeros((1, _PROBE_SIZE, _PROBE_SIZE, 3)))
        self.logits_stride = _PROBE_SIZE // int(outputs[common.LOGITS].shape[1])
        self.embedding_stride = _PROBE_SIZE // int(
            outputs.get(common.EMBEDDING, outputs[common.LOGITS]).shape[1]
        )
        self.num_classes = int(outputs[common.LOGITS].shape[-1])
        self._mode_terms = ModeTerms(
            frozenset(self._term_weights), margin, sigma, samples_per_mode, class_balance
        )
        self._term_means = TermMeans(
            [
                self.num_classes if class_balance and name.startswith(_BY_CLASS) else 1
                for name in self._term_weights
            ]
        )
        self.gradient_update = GradientUpdate()

    def call(self, inputs, training=None):
        """Computes logits and embeddings, see the class."""
        features = self.base(inputs, training=training)
        outputs = {common.LOGITS: self.segmentation_head(features, training=training)}
        if self.multimodal_head is not None:
            outputs[common.EMBEDDING] = self.multimodal_head(features, training=training)
        return outputs

    @property
    def metrics(self):
        """The running mean of the loss and of each of its terms."""
        return list(self._loss_metrics.values())

    @property
    def head_variables(self):
        """The trainable variables of both heads."""
        heads = [self.segmentation_head, self.multimodal_head]
        return [v for head in heads if head is not None for v in head.trainable_variables]

    @property
    def extra_variables(self):
        """Variables that training changes and `variables` does not hold."""
        return []

    def compile(self, optimizer="rmsprop", *, gradient_update=None, **kwargs):
        """Configures training.

        Args:
            optimizer: a Keras optimizer, or one of TensorFlow Addons on the older line.
            gradient_update: a `GradientUpdate`; None applies gradients as they are.
            **kwargs: further arguments of `keras.Model.compile`.
        """
        super().compile(optimizer=optimizer, **kwargs)
        self.gradient_update = gradient_update or GradientUpdate()
        self.gradient_update.attach(self)

    def train_step(self, data):
        """Trains on one batch of source and target images.

        Args:
            data: `{"source": {"image": (B, H, W, 3) float32, "label": (B, H, W) int32}, "target":
                the same}`, one replica's share; either half may hold no image.

        Returns:
            Dict of float32 scalars, equal on every replica, over the batch of all replicas:
            "loss", each term of it, and "gradient_norm", the L2 norm of the gradient as it comes.
        """
        batch = self.prepare_batch(data[0] if isinstance(data, tuple) else data)
        variables = self.trainable_variables
        context = tf.distribute.get_replica_context()
        parts = self.gradient_update.split_batch(batch)
        if len(parts) > 1:
            pixels = context.all_reduce(tf.distribute.ReduceOp.SUM, self._count_pixels(batch))
        gradients, means, counts = [], 0.0, 0.0
        for part in parts:
            with tf.control_dependencies(gradients):
                # One part after the other: side by side they would need the memory of all.
                part = tf.nest.map_structure(tf.identity, part)
            with tf.GradientTape() as tape:
                sums, part_counts = self._compute_part(part)
                part_counts = context.all_reduce(tf.distribute.ReduceOp.SUM, part_counts)
                divisors = part_counts
                if len(parts) > 1:
                    divisors = tf.where(pixels >= 0, pixels, part_counts * len(parts))
                # The one place where a loss is divided and weighted.
                part_means = self._term_means.compute(sums, divisors)
                part_loss = tf.reduce_sum(part_means * list(self._term_weights.values()))
                scaled_loss = compat.scale_loss(self.optimizer, part_loss)
            part_gradients = tape.gradient(
                scaled_loss,
                [compat.as_tf_variable(variable) for variable in variables],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            if gradients:
                part_gradients = [a + b for a, b in zip(gradients, part_gradients)]
            gradients = part_gradients
            means += part_means
            counts += part_counts
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norm = tf.linalg.global_norm(compat.unscale_gradients(self.optimizer, gradients))
        self.gradient_update.apply(gradients, variables)
        self.finish_step()

        loss = tf.reduce_sum(means * list(self._term_weights.values()))
        values = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.concat([[loss], means], axis=0))
        present = tf.concat([[1.0], self._term_means.find_present(counts)], axis=0)
        results = {"gradient_norm": norm}
        for index, (name, metric) in enumerate(self._loss_metrics.items()):
            metric.update_state(values[index], sample_weight=present[index])
            results[name] = values[index]
        return results

    def prepare_batch(self, batch):
        """Gives the batch to train on; a subclass may label its target images here.

        Args:
            batch: what `train_step` takes.

        Returns:
            The same, where each half may also hold "weight" (B, H, W) float32, which multiplies
            the cross-entropy of each pixel, and "mode_label" (B, H, W) int32, the labels for the
            losses on the embedding, in the place of "label".
        """
        return batch

    def finish_step(self):
        """Called once the optimizer has moved the variables; a subclass may follow them."""
        return

    def adopt_weights(self):
        """Called once weights came from elsewhere; a subclass may start from them anew."""
        return

    def test_step(self, data):
        """Computes the cross-entropy on labelled images.

        Args:
            data: `{"image": (B, H, W, 3) float32, "label": (B, H, W) int32}`.

        Returns:
            `{"loss": float32 scalar}`, the mean over the valid pixels of the batch.
        """
        logits = inference.predict_full_size_logits(self, data[common.IMAGE])
        total, count = segmentation.cross_entropy_loss(logits, data[common.LABEL])
        context = tf.distribute.get_replica_context()
        total, count = context.all_reduce(tf.distribute.ReduceOp.SUM, [total, count])
        loss = total / tf.maximum(count, 1.0)
        self._loss_metrics["loss"].update_state(loss, sample_weight=count)
        return {"loss": loss}

    def _compute_part(self, part):
        """Computes the sums and counts of every group of every term, (G,) float32 each."""
        source, target = part[common.SOURCE], part[common.TARGET]

        def join(get):
            return tf.concat([get(source), get(target)], axis=0)

        labels = join(lambda half: half[common.LABEL])
        weights = None
        if common.WEIGHT in source or common.WEIGHT in target:
            weights = join(
                lambda half: half.get(common.WEIGHT, tf.ones(tf.shape(half[common.LABEL])))
            )
        sums, counts = self.compute_loss_terms(
            self(join(lambda half: half[common.IMAGE]), training=True),
            labels,
            tf.shape(source[common.IMAGE])[0],
            has_target=target[common.IMAGE].shape[0] != 0,
            weights=weights,
            mode_labels=join(lambda half: half.get(common.MODE_LABEL, half[common.LABEL])),
        )
        return self._term_means.join(sums), self._term_means.join(counts)

    def _count_pixels(self, batch):
        """Counts the pixels that each term is a mean over; -1 for mode alignment: it has none."""
        counts = {}
        for domain, half in batch.items():
            labels = half.get(common.MODE_LABEL, half[common.LABEL])
            size = -(-tf.shape(labels)[1:3] // self.embedding_stride)
            sampled = segmentation.sample_labels(labels, size)
            by_class = self._settings["class_balance"]
            counted = (
                _count_classes(sampled, self.num_classes) if by_class else _count_valid(sampled)
            )
            counts[f"ce_{domain}"] = _count_valid(half[common.LABEL])
            counts[f"dml_{domain}"] = counts[f"posterior_{domain}"] = counted
        return self._term_means.join([counts.get(name, -1.0) for name in self._term_weights])

    def compute_loss_terms(
        self, outputs, labels, num_source, has_target=True, weights=None, mode_labels=None
    ):
        """Computes every loss term of this replica's batch, unweighted.

        Args:
            outputs: what the model returns for source images followed by target images.
            labels: (B, H, W) int32, in the same order.
            num_source: how many of them are source images, int32.
            has_target: whether there are target images at all; without, their terms are 0 of 0.
            weights: (B, H, W) float32, what each pixel's cross-entropy is multiplied by; None is
                1. Weights change the sums and not the counts.
            mode_labels: (B, H, W) int32, labels for the losses on the embedding; None is `labels`.

        Returns:
            Two lists, sums and counts, in the order of the terms: float32 scalars, or (C,) float32
            for the terms whose mean is over classes.
        """
        logits = inference.upsample_logits(
            outputs[common.LOGITS], self.logits_stride, tf.shape(labels)[1:3]
        )
        domains = {common.SOURCE: slice(None, num_source)}
        if has_target:
            domains[common.TARGET] = slice(num_source, None)
        terms = {
            f"ce_{domain}": segmentation.cross_entropy_loss(
                logits[part], labels[part], weights=None if weights is None else weights[part]
            )
            for domain, part in domains.items()
        }
        if self.multimodal_head is not None:
            mode_labels = labels if mode_labels is None else mode_labels
            terms.update(self._compute_mode_terms(outputs, mode_labels, domains))
        nothing = (tf.constant(0.0), tf.constant(0.0))
        sums, counts = zip(*(terms.get(name, nothing) for name in self._term_weights))
        return list(sums), list(counts)

    def _compute_mode_terms(self, outputs, labels, domains):
        embedding = outputs[common.EMBEDDING]
        dimension = embedding.shape[-1]
        labels = segmentation.sample_labels(labels, tf.shape(embedding)[1:3])
        modes = self.multimodal_head.modes
        pixels = {
            domain: (tf.reshape(embedding[part], (-1, dimension)), tf.reshape(labels[part], (-1,)))
            for domain, part in domains.items()
        }
        seed = None
        if "sma" in self._term_weights:
            step = tf.cast(self.optimizer.iterations, tf.int32)
            seed = tf.stack([self._settings["seed"], step])
        return self._mode_terms.compute(pixels, modes, seed)

    def get_config(self):
        """Gives what `from_config` rebuilds the model from, weights apart."""
        head = self.multimodal_head
        return {
            "base": keras.saving.serialize_keras_object(self.base),
            "segmentation_head": keras.saving.serialize_keras_object(self.segmentation_head),
            "multimodal_head": None if head is None else keras.saving.serialize_keras_object(head),
            "name": self.name,
            **self._settings,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Rebuilds a model from `get_config`'s dict."""
        config = copy.deepcopy(config)  # Keras 3 empties the dict that it rebuilds a network from.
        for part in ("base", "segmentation_head", "multimodal_head"):
            config[part] = keras.saving.deserialize_keras_object(
                config[part], custom_objects=custom_objects
            )
        return cls(**config)


def _count_valid(labels):
    return tf.cast(tf.math.count_nonzero(tf.not_equal(labels, common.IGNORE_ID)), tf.float32)


def _count_classes(labels, num_classes):
    is_class = tf.equal(tf.reshape(labels, (-1, 1)), tf.range(num_classes))
    return tf.cast(tf.math.count_nonzero(is_class, axis=0), tf.float32)
