"""The DRSL model: one base network, two heads, and the combined loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from drsl_tf import common
from drsl_tf import compat
from drsl_tf.losses import segmentation
from drsl_tf.losses.mode_terms import Competition
from drsl_tf.losses.mode_terms import ModeTerms
from drsl_tf.models import batch_forms
from drsl_tf.models import inference
from drsl_tf.models.mean_iou import MeanIou
from drsl_tf.models.mean_iou import count_pairs
from drsl_tf.models.mode_tracker import ModeTracker
from drsl_tf.models.objective import Objective
from drsl_tf.networks.layers import image_grid
from drsl_tf.networks.layers.fusion import DEEPEST_LEVEL
from drsl_tf.networks.layers.fusion import list_depths
from drsl_tf.networks.layers.fusion import list_fusion_variables
from drsl_tf.optimization.gradient_update import GradientUpdate

_SKIPPED = 1e-30
_WITHOUT_MODES = ("ce_", "kld_", "feature_")


@keras.saving.register_keras_serializable(package="drsl_tf")
class DrslModel(keras.Model):
    """Segmentation model with a multi-modal head, trained by DRSL (arXiv 2206.09683).

    Called on images (B, H, W, 3), float32 in [0, 255], it returns `{"logits": (B, h, w, C)
    float32, "embedding": (B, h, w, d) float32}`; without a multi-modal head the embedding is
    missing and training is cross-entropy self-training. With `feature_weight` of an
    `OnlineDrslModel` "encoder" is the base's "level5" too, of its own size and dtype.

    Source and target images share ONE forward pass, so in training batch normalisation uses the
    statistics of both domains, or stored ones, see `freeze_statistics`.

    The loss, each term divided by its own count over all replicas:

        L = source_weight L_ce(s) + target_weight L_ce(t) + dml_weight (L_dml(s) + L_dml(t))
            + posterior_weight (L_mce(s) + L_mce(t)) + sma_weight L_sma
            + sibling_weight (L_sib(s) + L_sib(t))
            + kld_weight L_kld(t) + mask_weight L_ce(m) + feature_weight L_fd

    with L_kld the divergence from the uniform distribution to the prediction, m the masked target
    images, and L_fd the feature distance, of an `OnlineDrslModel`.

    The terms are the paper's, L_mce, margin and sigma RepMet's; their sum, weights, sampling and
    the mean over classes are this project's choices (`docs/method.md`).

    Args:
        base: keras.Model from images to a dict of feature maps with the key "features". If 32 is no
            multiple of its strides, it has an attribute `size_multiple`.
        segmentation_head: keras.layers.Layer from that dict to logits.
        multimodal_head: a `MultimodalHead` from that dict to embeddings, or None.
        source_weight: weight of the cross-entropy on the source's labels.
        target_weight: weight of the cross-entropy on pseudo-labels.
        dml_weight: weight of the margin loss on distances to modes.
        posterior_weight: weight of the cross-entropy on mode posteriors. It draws every mode of a
            class to its pixels, the margin loss only the nearest, and so keeps modes in use.
        sma_weight: weight of stochastic mode alignment.
        sibling_weight: weight of the competition between modes, those of the same class included.
            It needs a head whose modes follow their pixels (`MultimodalHead.mode_decay`).
        sibling_temperature: scale of its cosines.
        sibling_steps: number of the optimizer's first steps over which the competition with modes
            of the same class rises linearly from 0 to its full strength.
        kld_weight: weight of the divergence from the uniform distribution to the prediction, on the
            target's pixels with a label (CRST's MRKLD); those that an `OnlineDrslModel` pastes and
            labels at any confidence are among them.
        mask_weight: weight of the cross-entropy on masked target images, which `OnlineDrslModel`
            makes.
        feature_weight: weight of the feature distance, which `OnlineDrslModel` computes.
        margin: the margin alpha on squared distances, of unit-length vectors.
        sigma: width of the mode posteriors.
        samples_per_mode: most pixels that a mode aligns per domain, step and replica, and in each
            micro-batch.
        class_weights: factors of the source's cross-entropy by class, a dict from id to factor, 1
            for the others, or a list of all C; they change the sum and not the count of pixels.
            None is 1 for all.
        class_balance: whether L_dml, L_mce and L_sib are averaged over the pixels of each class
            first, then over the classes present; otherwise over all pixels, most of which are road,
            building and sky.
        pool_cross_entropy: whether L_ce(s) and L_ce(t) are divided by one count, source_weight
            times the labelled source pixels plus target_weight times those of the target, as in
            CBST and CRST; the source stage is the same at any source_weight then.
        freeze_statistics: whether a batch with target images passes through the network in
            inference mode, as in pseudo-labelling and scoring: batch normalisation uses and keeps
            its stored statistics, while its scales and offsets train; dropout, if any, is off.
        seed: seed of the mode alignment's draws, together with the optimizer's step.
        name: the model's name.
        dtype: name of the precision policy by which `compile` scales the loss or not; None is
            Keras's global policy, by which base and heads were built.
    """

    labels_online = False
    """Whether the model labels its target images itself, in every step."""

    starts_trained = False
    """Whether training starts from trained weights: a mean teacher then has its decay at once."""

    needs_trained_modes = False
    """Whether its labels depend on the modes of the multi-modal head."""

    def __init__(
        self,
        base: keras.Model,
        segmentation_head: keras.layers.Layer,
        multimodal_head: keras.layers.Layer | None = None,
        *,
        source_weight: float = 1.0,
        target_weight: float = 1.0,
        dml_weight: float = 1.0,
        posterior_weight: float = 0.0,
        sma_weight: float = 0.1,
        sibling_weight: float = 0.0,
        sibling_temperature: float = 0.1,
        sibling_steps: int = 0,
        kld_weight: float = 0.0,
        mask_weight: float = 0.0,
        feature_weight: float = 0.0,
        margin: float = 0.5,
        sigma: float = 0.5,
        samples_per_mode: int = 64,
        class_weights: Mapping[int, float] | Sequence[float] | None = None,
        class_balance: bool = True,
        pool_cross_entropy: bool = False,
        freeze_statistics: bool = False,
        seed: int = 0,
        name: str | None = "drsl_model",
        dtype: str | None = None,
    ):
        for term, weight in (("mask_weight", mask_weight), ("feature_weight", feature_weight)):
            if weight and not self.labels_online:
                raise UserError(
                    f"DrslModel.{term} is {weight}, but only OnlineDrslModel has this term."
                )
        if feature_weight and DEEPEST_LEVEL not in base.output:
            raise UserError(
                f"DrslModel.feature_weight is {feature_weight}, but the base has no "
                f"{DEEPEST_LEVEL}: bind feature_weight = 0.0, or a base that has it."
            )
        if sibling_weight and multimodal_head is not None and multimodal_head.mode_decay is None:
            raise UserError(
                f"DrslModel.sibling_weight is {sibling_weight}, but the modes of its multi-modal "
                "head do not follow their pixels. Bind MultimodalHead.usage_decay and "
                "MultimodalHead.mode_decay, such as 0.99."
            )
        if sibling_steps and not sibling_weight:
            raise UserError(
                f"DrslModel.sibling_steps is {sibling_steps}, which has no effect with "
                "sibling_weight 0: bind both, or none."
            )
        if sibling_temperature <= 0:
            raise UserError(
                f"DrslModel.sibling_temperature is {sibling_temperature}; it must be above 0."
            )
        check_integer("DrslModel.sibling_steps", sibling_steps, least=0)
        if sigma <= 0:
            raise UserError(f"DrslModel.sigma is {sigma}; it must be above 0.")
        check_integer("DrslModel.samples_per_mode", samples_per_mode, least=1)
        super().__init__(name=name, dtype=dtype)
        self.base = base
        self.segmentation_head = segmentation_head
        self.multimodal_head = multimodal_head
        self._settings = {
            "source_weight": source_weight,
            "target_weight": target_weight,
            "dml_weight": dml_weight,
            "posterior_weight": posterior_weight,
            "sma_weight": sma_weight,
            "sibling_weight": sibling_weight,
            "sibling_temperature": sibling_temperature,
            "sibling_steps": sibling_steps,
            "kld_weight": kld_weight,
            "mask_weight": mask_weight,
            "feature_weight": feature_weight,
            "margin": margin,
            "sigma": sigma,
            "samples_per_mode": samples_per_mode,
            "class_balance": class_balance,
            "pool_cross_entropy": pool_cross_entropy,
            "freeze_statistics": freeze_statistics,
            "seed": seed,
        }
        weights = {
            "ce_source": source_weight,
            "ce_target": target_weight,
            "dml_source": dml_weight,
            "dml_target": dml_weight,
            "posterior_source": posterior_weight,
            "posterior_target": posterior_weight,
            "siblings_source": sibling_weight,
            "siblings_target": sibling_weight,
            "sma": sma_weight,
            "kld_target": kld_weight,
            "ce_masked": mask_weight,
            "feature_distance": feature_weight,
        }
        has_modes = multimodal_head is not None
        weights = {
            name: float(weight)
            for name, weight in weights.items()
            if weight and (has_modes or name.startswith(_WITHOUT_MODES))
        }
        self._loss_metrics = {name: keras.metrics.Mean(name=name) for name in ("loss", *weights)}
        # A first call creates every variable: checkpoints, optimizers and Keras 3's `compile`
        # all need them to exist.
        self.size_multiple = image_grid.find_size_multiple(base)
        probe = image_grid.choose_probe_size(base)
        outputs = self(tf.zeros((1, probe, probe, 3)))
        strides = {
            key: image_grid.measure_stride(probe, int(value.shape[1]), key)
            for key, value in outputs.items()
        }
        self.logits_stride = strides[common.LOGITS]
        self.embedding_stride = strides.get(common.EMBEDDING, self.logits_stride)
        self.num_classes = int(outputs[common.LOGITS].shape[-1])
        mode_terms = ModeTerms(
            frozenset(weights),
            margin,
            sigma,
            samples_per_mode,
            by_class=class_balance,
            compete=self._make_competition,
        )
        self._mode_tracker = None
        if multimodal_head is not None and multimodal_head.usage_decay is not None:
            temperature = sibling_temperature if sibling_weight else None
            self._mode_tracker = ModeTracker(multimodal_head, temperature, seed)
        self._fit_metrics = _FitMetrics(self.num_classes)
        # What a step returns is equal on every replica; Keras 2 would add it up.
        self.distribute_reduction_method = "first"
        factors = _list_class_weights(class_weights, self.num_classes)
        self._settings["class_weights"] = factors
        self._objective = Objective(
            weights,
            mode_terms if has_modes else None,
            num_classes=self.num_classes,
            class_weights=factors,
            class_balance=class_balance,
            pool_cross_entropy=pool_cross_entropy,
            logits_stride=self.logits_stride,
            embedding_stride=self.embedding_stride,
        )
        self.gradient_update = GradientUpdate()

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Computes logits and embeddings, as described by the class."""
        features = self.base(inputs, training=training)
        outputs = {common.LOGITS: self.segmentation_head(features, training=training)}
        if self.multimodal_head is not None:
            outputs[common.EMBEDDING] = self.multimodal_head(features, training=training)
        if self._settings["feature_weight"]:
            outputs[common.ENCODER] = features[DEEPEST_LEVEL]
        return outputs

    @property
    def loss_metrics(self) -> list[keras.metrics.Metric]:
        """The running mean of the loss and of each of its terms."""
        return list(self._loss_metrics.values())

    @property
    def source_settings(self) -> list[str]:
        """Names of the arguments in force that have no effect without source images."""
        terms = {"sma": "sma_weight", "feature_distance": "feature_weight"}
        return [name for term, name in terms.items() if term in self._loss_metrics]

    @property
    def mode_settings(self) -> list[str]:
        """Names of the weights, 0 by default, that have no effect without a multi-modal head."""
        return [name for name in ("posterior_weight", "sibling_weight") if self._settings[name]]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means of the loss, its terms and the gradient's norm, and the mean IoU."""
        return [*self.loss_metrics, self._fit_metrics.norm, self._fit_metrics.miou]

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the metrics of `train_step`, or those of `test_step` if only that one ran."""
        was_training = float(tf.convert_to_tensor(self._fit_metrics.norm.count)) > 0
        names = {*self._loss_metrics, common.GRADIENT_NORM} if was_training else {"loss", "miou"}
        return {metric.name: metric.result() for metric in self.metrics if metric.name in names}

    @property
    def objective(self) -> Objective:
        """The `Objective` that computes and weights the terms of the loss."""
        return self._objective

    @property
    def freeze_statistics(self) -> bool:
        """Whether batches with target images leave batch normalisation's statistics unchanged."""
        return bool(self._settings["freeze_statistics"])

    @property
    def head_variables(self) -> list[tf.Variable]:
        """The trainable variables of both heads, and of the layers that join levels for them."""
        heads = [self.segmentation_head, self.multimodal_head]
        own = [v for head in heads if head is not None for v in head.trainable_variables]
        return own + list_fusion_variables(self.base)

    @property
    def encoder_depths(self) -> list[tuple[tf.Variable, int]]:
        """Pairs of a variable of the encoder and its depth, of a base that tells them."""
        return list_depths(self.base)

    @property
    def extra_variables(self) -> list[tf.Variable]:
        """Variables that training changes and `variables` does not hold."""
        return []

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: None = None,
        metrics: None = None,
        *,
        gradient_update: GradientUpdate | None = None,
        jit_compile: bool | str | None = None,
        **kwargs: Any,
    ) -> None:
        """Configures training.

        Args:
            optimizer: a Keras optimizer, or one of TensorFlow Addons on the older line.
            loss: None; the model computes its loss.
            metrics: None; the model has its metrics.
            gradient_update: a `GradientUpdate`; None applies gradients as they are.
            jit_compile: True compiles steps by XLA, on the older line only without mode alignment;
                None and "auto" do not.
            **kwargs: further arguments of `keras.Model.compile`.

        Raises:
            UserError: an argument has no use here.
        """
        unused = {"loss": loss, "metrics": metrics}
        unused |= {name: kwargs.pop(name, None) for name in ("loss_weights", "weighted_metrics")}
        for name, value in unused.items():
            if value:
                raise UserError(
                    f"DrslModel.compile takes no {name}: the terms of the loss and their weights "
                    'are arguments of the model, and evaluate reports "loss" and "miou".'
                )
        jit_compile = bool(jit_compile) and jit_compile != "auto"
        if jit_compile and "sma" in self._objective.names and not compat.KERAS_3:
            raise UserError(
                f"jit_compile=True: XLA of TensorFlow {tf.__version__} cannot compile mode "
                "alignment. Bind DrslModel.sma_weight to 0, leave jit_compile out, or use "
                "TensorFlow 2.21."
            )
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        self.gradient_update = gradient_update or GradientUpdate()
        self.gradient_update.attach(self)

    @property
    def optimizer_copies(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimizer's copies with other rates, by name; `save` finds and stores their state."""
        return self.gradient_update.copies

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile`, which `compile_from_config` compiles with."""
        config = super().get_compile_config()
        if config:
            update = keras.saving.serialize_keras_object(self.gradient_update)
            config = {**config, "gradient_update": update}
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model as `get_compile_config` describes; called when Keras loads a model."""
        # Called by Keras while it loads a model, under its safe mode.
        self.compile(**keras.saving.deserialize_keras_object(config))  # noqa: TID251

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Trains on one batch of source and target images.

        Args:
            data: `{"source": {"image": (B, H, W, 3) float32, "label": (B, H, W) int32}, "target":
                the same}`, one replica's share; either half may hold no image. Other forms are
                those of `batch_forms.read_batch`; without a target the source trains alone.

        Returns:
            Dict of float32 scalars, equal on every replica, over the batch of all replicas:
            "loss", each of its terms, and "gradient_norm", the L2 norm of the unmodified gradient.
        """
        batch = self.prepare_batch(batch_forms.read_batch(data))
        gradients, means, counts, tallies = self._accumulate_gradients(batch)
        gradients = _sum_over_replicas(gradients)
        norm = tf.linalg.global_norm(compat.unscale_gradients(self.optimizer, gradients))
        self.gradient_update.apply(gradients, self.trainable_variables)
        if self._mode_tracker is not None:
            self._mode_tracker.update(_sum_over_replicas(tallies), self._get_step())
        self.finish_step()
        self._fit_metrics.add_norm(norm, compat.has_loss_scale(self.optimizer))
        return {common.GRADIENT_NORM: norm, **self._update_metrics(means, counts)}

    def fit(
        self,
        x: Any = None,
        *args: Any,
        callbacks: Any = None,
        class_weight: None = None,
        **kwargs: Any,
    ) -> Any:
        """Trains as `keras.Model.fit`.

        Args:
            x: data of a form in `batch_forms.read_batch`, as arrays or a `tf.data.Dataset`.
            *args: as in Keras.
            callbacks: as in Keras; a callback with a method `join_target`, as
                `SelfTrainingCallback`, changes a dataset by it.
            class_weight: None; `DrslModel.class_weights` has this use.
            **kwargs: as in Keras.

        Returns:
            A `keras.callbacks.History`: means of the loss, its terms and the gradient's norm per
            epoch, and "val_loss" and "val_miou".

        Raises:
            UserError: the data have another form, or `class_weight` is given.
        """
        if class_weight is not None:
            raise UserError(
                "DrslModel.fit takes no class_weight, which Keras allows for one label per image "
                f"only: build the model with DrslModel(class_weights={class_weight!r})."
            )
        if callbacks is not None:
            kwargs["callbacks"] = callbacks
        listed = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
        for callback in listed:
            if hasattr(callback, "join_target"):
                x = callback.join_target(x)
        return super().fit(x, *args, **kwargs)

    def predict_labels(self, images: Any, *, batch_size: int = 8) -> np.ndarray:
        """Predicts the class of every pixel.

        Args:
            images: (B, H, W, 3) array or tensor of any size, uint8 or float, RGB in [0, 255].
            batch_size: images that the network processes at a time.

        Returns:
            (B, H, W) uint8 class ids.

        Raises:
            UserError: the images have another shape or type, or `batch_size` is below 1.
        """
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; it must be at least 1.")
        images = batch_forms.check_images(images)
        labels = np.zeros(images.shape[:3], np.uint8)
        for first in range(0, len(labels), batch_size):
            logits = inference.predict_full_size_logits(self, images[first : first + batch_size])
            labels[first : first + batch_size] = tf.argmax(logits, axis=-1).numpy()
        return labels

    def export(self, filepath: str, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """Exports the network as a SavedModel for images of any size, as `keras.Model.export`.

        Its endpoint "serve" takes images (B, H, W, 3) float32 in [0, 255] and returns what the
        model returns for the images padded to a multiple of `size_multiple`. `drsl_tf.export` and
        `drsl_tf.serving.saved_models` export label maps instead, with a description.

        Args:
            filepath: the directory to write.
            format: "tf_saved_model"; Keras 3 itself exports other formats, for one size.
            **kwargs: further arguments of `keras.export.ExportArchive.write_out`, such as `verbose`
                of Keras 3; for other formats, of `keras.Model.export`.
        """
        if format != "tf_saved_model":
            super().export(filepath, format=format, **kwargs)
            return
        archive = keras.export.ExportArchive()
        archive.track(self)
        archive.add_endpoint(
            "serve",
            lambda images: inference.predict_logits(self, images),
            input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, "images")],
        )
        archive.write_out(filepath, **kwargs)

    def prepare_batch(
        self, batch: dict[str, dict[str, tf.Tensor]]
    ) -> dict[str, dict[str, tf.Tensor]]:
        """Returns the batch to train on; a subclass may label its target images here.

        Args:
            batch: what `train_step` takes.

        Returns:
            The same, where each part may also hold "weight" (B, H, W) float32, which multiplies
            the cross-entropy of each pixel, and "mode_label" (B, H, W) int32, the labels for the
            losses on the embedding, instead of "label". A third part, "masked", may follow.
        """
        return batch

    def compute_further_terms(
        self, outputs: dict[str, tf.Tensor], batch: dict[str, dict[str, tf.Tensor]]
    ) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        """Returns sums and counts of further terms of the loss, by name; a subclass may add some.

        Args:
            outputs: what the model returns for the images of the batch, in its order.
            batch: what `prepare_batch` returned, or a part of it.
        """
        return {}

    def finish_step(self) -> None:
        """Called after the optimizer's update; a subclass may update further variables."""
        return

    def adopt_weights(self) -> None:
        """Called after weights were loaded; a subclass may initialise its state from them."""
        return

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Computes the cross-entropy and the mean IoU of labelled images.

        Args:
            data: as in `train_step`; all its labels are true labels, those of the target too.

        Returns:
            `{"loss", "miou"}`: float32 scalars, equal on every replica, over the valid pixels since
            the metrics were reset.
        """
        sums, matrix = [0.0, 0.0], 0.0
        for half in batch_forms.read_batch(data).values():
            if batch_forms.has_images(half):
                logits = inference.predict_full_size_logits(self, half[common.IMAGE])
                added = segmentation.cross_entropy_loss(logits, half[common.LABEL])
                sums = [old + new for old, new in zip(sums, added)]
                matrix += count_pairs(logits, half[common.LABEL])
        # Apart: collective reductions join what they get, and the matrix has another type.
        total, count = _sum_over_replicas(sums)
        matrix = _sum_over_replicas(matrix)
        loss, miou = self._loss_metrics["loss"], self._fit_metrics.miou
        loss.update_state(tf.math.divide_no_nan(total, count), sample_weight=count)
        miou.update_state(matrix)
        return {"loss": loss.result(), "miou": miou.result()}

    def _accumulate_gradients(self, batch):
        """Accumulates gradients over the parts that the gradient update splits a batch into.

        Returns:
            This replica's share of the scaled loss's gradients and of the terms' means, the
            terms' counts over all replicas, and this replica's tallies of modes, empty without a
            tracker.
        """
        parts = self.gradient_update.split_batch(batch)
        pixels = None
        if len(parts) > 1:
            pixels = _sum_over_replicas(self._objective.count_pixels(batch))
        totals = self._compute_gradients(parts[0], pixels, len(parts))
        for part in parts[1:]:
            with tf.control_dependencies(totals[0]):
                # Sequential: concurrent parts would need the memory of all.
                part = tf.nest.map_structure(tf.identity, part)
            values = self._compute_gradients(part, pixels, len(parts))
            totals = tf.nest.map_structure(tf.add, totals, values)
        return totals

    def _compute_gradients(self, part, pixels, num_parts):
        """Computes one part's contribution to the gradients, means and counts of a batch.

        Args:
            part: a batch, or a part of one.
            pixels: (G,) counts over the whole batch, see `Objective.count_pixels`; None where the
                part is all of it.
            num_parts: how many parts there are.

        Returns:
            As `_accumulate_gradients`.
        """
        with tf.GradientTape() as tape:
            sums, counts, tallies = self._compute_sums(part)
            counts = _sum_over_replicas(counts)
            divisors = counts
            if pixels is not None:
                divisors = tf.where(self._objective.is_countable, pixels, counts * num_parts)
            means = self._objective.means.compute(sums, divisors)
            loss = compat.scale_loss(self.optimizer, self._objective.weigh(means, divisors))
        variables = [compat.as_tf_variable(variable) for variable in self.trainable_variables]
        zero = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(loss, variables, unconnected_gradients=zero)
        return gradients, means, counts, tallies

    def _compute_sums(self, part):
        """Computes the sums and counts of the terms, see `Objective`, and the tallies of modes."""
        images = [half[common.IMAGE] for half in part.values()]
        has_target = batch_forms.has_images(part[common.TARGET])
        freezes = self._settings["freeze_statistics"] and has_target
        outputs = self(tf.concat(images, axis=0), training=not freezes)
        sums, counts = self._objective.compute_sums(
            outputs,
            part,
            None if self.multimodal_head is None else self.multimodal_head.modes,
            seed=tf.stack([self._settings["seed"], self._get_step()]),
            further_terms=self.compute_further_terms(outputs, part),
        )
        tallies = {}
        if self._mode_tracker is not None:
            tallies = self._mode_tracker.tally(self._objective.select_pixels(outputs, part))
        return sums, counts, tallies

    def _make_competition(self):
        """Returns how the modes of a class compete in this step."""
        rivalry = tf.constant(1.0)
        if steps := self._settings["sibling_steps"]:
            rivalry = tf.minimum(tf.cast(self._get_step(), tf.float32) / steps, 1.0)
        usage = tf.convert_to_tensor(self.multimodal_head.usage)
        return Competition(usage, self._settings["sibling_temperature"], rivalry)

    def _get_step(self):
        """Returns the number of the optimizer's finished steps, an int32 scalar."""
        return tf.cast(self.optimizer.iterations, tf.int32)

    def _update_metrics(self, means, counts):
        """Adds a step to the running means and returns the loss and its terms by name."""
        loss = self._objective.weigh(means, counts)
        values = _sum_over_replicas(tf.concat([[loss], means], axis=0))
        present = tf.concat([[1.0], self._objective.means.find_present(counts)], axis=0)
        for index, metric in enumerate(self._loss_metrics.values()):
            metric.update_state(values[index], sample_weight=present[index])
        return dict(zip(self._loss_metrics, tf.unstack(values)))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, without weights, that `from_config` rebuilds the model from."""
        head = self.multimodal_head
        return {
            "base": keras.saving.serialize_keras_object(self.base),
            "segmentation_head": keras.saving.serialize_keras_object(self.segmentation_head),
            "multimodal_head": None if head is None else keras.saving.serialize_keras_object(head),
            "name": self.name,
            "dtype": self.dtype_policy.name,
            **self._settings,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> DrslModel:
        """Rebuilds a model from `get_config`'s dict."""
        config = copy.deepcopy(config)  # Keras 3 empties the dict that it rebuilds a network from.
        for part in ("base", "segmentation_head", "multimodal_head"):
            # Called by Keras while it loads a model, under its safe mode.
            config[part] = keras.saving.deserialize_keras_object(  # noqa: TID251
                config[part], custom_objects=custom_objects
            )
        return cls(**config)


class _FitMetrics:
    """Metrics of `fit` and `evaluate` beside the loss; their state is in no checkpoint.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int):
        self.norm = keras.metrics.Mean(name=common.GRADIENT_NORM)
        self.miou = MeanIou(num_classes)

    def add_norm(self, norm: tf.Tensor, may_overflow: bool) -> None:
        """Adds the norm of a step's gradient.

        Args:
            norm: float32 scalar.
            may_overflow: whether steps of a non-finite norm are skipped, as under a loss scale,
                and do not count.
        """
        if may_overflow:
            is_finite = tf.math.is_finite(norm)
            # The weight of a skipped step tells that the model trained, and changes no mean.
            weight = tf.where(is_finite, 1.0, _SKIPPED)
            self.norm.update_state(tf.where(is_finite, norm, 0.0), sample_weight=weight)
        else:
            self.norm.update_state(norm)


def _list_class_weights(class_weights, num_classes):
    """Returns the C factors as a list of floats, or None."""
    if class_weights is None:
        return None
    if isinstance(class_weights, Mapping):
        unknown = set(class_weights) - set(range(num_classes))
        factors = [class_weights.get(index, 1.0) for index in range(num_classes)]
    else:
        unknown, factors = set(), list(class_weights)
    fits = not unknown and len(factors) == num_classes
    if not fits or not all(np.isfinite(factor) and factor >= 0 for factor in factors):
        raise UserError(
            f"DrslModel.class_weights is {class_weights!r}; it must be a dict from class ids, 0 to "
            f"{num_classes - 1}, or a list of {num_classes}, of numbers of at least 0."
        )
    return [float(factor) for factor in factors]


def _sum_over_replicas(values):
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)
