"""DRSL as a regulariser of online self-training: a mean teacher labels the target each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from drsl_tf import common
from drsl_tf.models import batch_forms
from drsl_tf.models.model import DrslModel
from drsl_tf.networks.backbones.preprocessing import find_neutral_colour
from drsl_tf.self_training import class_mix
from drsl_tf.self_training import image_draws
from drsl_tf.self_training import pseudo_labels
from drsl_tf.self_training import student_view
from drsl_tf.self_training.feature_distance import InitialEncoder
from drsl_tf.self_training.teacher import Teacher

_TEACHER = "teacher_"
# Added to the seed, so that draws for different purposes differ.
_AUGMENT, _MASK = 1 << 20, 1 << 21


@keras.saving.register_keras_serializable(package="drsl_tf")
class OnlineDrslModel(DrslModel):
    """A `DrslModel` that generates its pseudo-labels itself, in every training step.

    This goes beyond DRSL's paper. It follows the released recipe of DAFormer (L. Hoyer et al.,
    CVPR 2022), which builds on DACS: an exponential moving average of the network predicts every
    target image; all its pixels are labelled, and the cross-entropy is weighted by the share of
    pixels whose confidence reaches a threshold. The share is computed per image, so that it
    does not depend on the batch.

    The losses on the embedding use only confident target pixels, and none pasted from the source:
    this project's choice.

    The teacher labels the clean image. The student sees it, after ClassMix, with changed colours
    and blurred. With `mask_weight` it also sees the image before ClassMix, its colours changed in
    the same way, with random blocks masked (MIC): labels, threshold and weights are those of the
    target image.

    The target labels of a batch are used only to find padding, marked by 255.

    Args:
        base: see `DrslModel`.
        segmentation_head: see `DrslModel`.
        multimodal_head: see `DrslModel`.
        threshold: confidence in [0, 1] from which a pixel counts as confident.
        teacher_decay: decay of the teacher's moving average. The first steps average over all
            steps so far: the decay of step t is min(1 - 1 / t, teacher_decay), unless the run has
            an `initial_run` and no source stage (`starts_trained`; with `fit` it is yours to set).
        mix_classes: paste half of the classes of a source image, if there is one, with their
            labels, into the target image (ClassMix).
        jitter: strength of the change of colours, see `student_view.augment_strongly`; 0 keeps
            them.
        jitter_chance: share of target images whose colours change.
        blur_chance: share of target images that are blurred.
        ignore_top: share of the target crop's rows, at its top, whose labels have no weight.
        ignore_bottom: the same at its bottom.
        feature_classes: ids of the classes for the feature distance, thing classes; the defaults
            are Cityscapes' trainIds. See `feature_distance.InitialEncoder`.
        mask_ratio: share of a masked image that is masked.
        mask_block: side of the masked blocks in pixels; None is an eighth of the crop's shorter
            side, at most 64.
        mode_label_weight: power in [0, 1] of the factors by which modes correct the teacher's
            probabilities before they become labels and confidences (`docs/method.md`, modes from
            data); their temperature is `sibling_temperature`. 0 corrects nothing; above 0 it needs
            a multi-modal head.
        **settings: further arguments of `DrslModel`.

    Raises:
        UserError: an argument is out of range, or `mode_label_weight` has no multi-modal head.
    """

    labels_online = True

    def __init__(
        self,
        base: keras.Model,
        segmentation_head: keras.layers.Layer,
        multimodal_head: keras.layers.Layer | None = None,
        *,
        threshold: float = 0.968,
        teacher_decay: float = 0.999,
        mix_classes: bool = False,
        jitter: float = 0.2,
        jitter_chance: float = 0.8,
        blur_chance: float = 0.5,
        ignore_top: float = 0.0,
        ignore_bottom: float = 0.0,
        feature_classes: Sequence[int] = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18),
        mask_ratio: float = 0.7,
        mask_block: int | None = None,
        mode_label_weight: float = 0.0,
        **settings: Any,
    ):
        fractions = {
            "threshold": threshold,
            "teacher_decay": teacher_decay,
            "jitter": jitter,
            "jitter_chance": jitter_chance,
            "blur_chance": blur_chance,
            "ignore_top": ignore_top,
            "ignore_bottom": ignore_bottom,
            "mask_ratio": mask_ratio,
            "mode_label_weight": mode_label_weight,
        }
        for name, value in fractions.items():
            if not 0 <= value <= 1:
                raise UserError(f"OnlineDrslModel.{name} is {value}; it must be in [0, 1].")
        if mask_block is not None:
            check_integer("OnlineDrslModel.mask_block", mask_block, least=1)
        if mode_label_weight and multimodal_head is None:
            raise UserError(
                f"OnlineDrslModel.mode_label_weight is {mode_label_weight}, but the model has no "
                "multi-modal head, whose modes correct labels. Bind build_model.multimodal_head = "
                "@drsl_tf.MultimodalHead, or mode_label_weight = 0.0."
            )
        super().__init__(base, segmentation_head, multimodal_head, **settings)
        self.needs_trained_modes = mode_label_weight > 0
        self._online_settings = {
            **fractions,
            "mix_classes": mix_classes,
            "mask_block": mask_block,
        }
        self._feature_classes = tuple(feature_classes)
        self._neutral_colour = find_neutral_colour(base)
        self._teacher = Teacher(self, mode_label_weight, self._settings["sibling_temperature"])
        self._initial = None
        if self._settings["feature_weight"]:
            if not all(0 <= each < self.num_classes for each in feature_classes):
                raise UserError(
                    f"OnlineDrslModel.feature_classes is {tuple(feature_classes)}; the ids of the "
                    f"model's classes are 0 to {self.num_classes - 1}."
                )
            self._initial = InitialEncoder(base)

    @property
    def teacher(self) -> Teacher:
        """The mean teacher."""
        return self._teacher

    @property
    def extra_variables(self) -> list[tf.Variable]:
        """The teacher's variables."""
        return self._teacher.variables

    @property
    def source_settings(self) -> list[str]:
        """Names of the arguments in force that have no effect without source images."""
        mixing = ["mix_classes"] if self._online_settings["mix_classes"] else []
        return [*mixing, *super().source_settings]

    def prepare_batch(
        self, batch: dict[str, dict[str, tf.Tensor]]
    ) -> dict[str, dict[str, tf.Tensor]]:
        """Labels the target images with the teacher, and augments them for the student."""
        source, target = batch[common.SOURCE], batch[common.TARGET]
        if not batch_forms.has_images(target):
            return batch
        target = self._label_target(target)
        masked = dict(target)
        if self._online_settings["mix_classes"] and batch_forms.has_images(source):
            target = self._mix(source, target)
        prepared = {common.SOURCE: source, common.TARGET: self._augment(target)}
        if self._settings["mask_weight"]:
            masked[common.IMAGE] = self._mask(self._augment(masked)[common.IMAGE])
            prepared[common.MASKED] = masked
        return prepared

    def compute_further_terms(
        self, outputs: dict[str, tf.Tensor], batch: dict[str, dict[str, tf.Tensor]]
    ) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        """Computes the feature distance of the source images."""
        source = batch[common.SOURCE]
        if self._initial is None or not batch_forms.has_images(source):
            return {}
        features = outputs[common.ENCODER][: tf.shape(source[common.IMAGE])[0]]
        distance = self._initial.compute_distance(
            features, source[common.IMAGE], source[common.LABEL], self._feature_classes
        )
        return {"feature_distance": distance}

    def finish_step(self) -> None:
        """Updates the teacher."""
        decay = tf.constant(self._online_settings["teacher_decay"])
        if not self.starts_trained:
            step = tf.maximum(tf.cast(self.optimizer.iterations, tf.float32), 1.0)
            decay = tf.minimum(1.0 - 1.0 / step, decay)
        self._teacher.follow(decay)

    def adopt_weights(self) -> None:
        """Initialises the teacher from the loaded weights."""
        self._teacher.restart()

    def label_images(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Labels images as in training, with the teacher.

        Args:
            images: (B, H, W, 3) float32 in [0, 255].

        Returns:
            The labels, (B, H, W) int32, and whether their confidence reaches the threshold,
            (B, H, W) bool.
        """
        logits = self._teacher.predict_logits(images)
        confidence, prediction = pseudo_labels.confidence_and_prediction(logits)
        return prediction, confidence >= self._online_settings["threshold"]

    def _label_target(self, target):
        prediction, confident = self.label_images(target[common.IMAGE])
        is_image = tf.not_equal(target[common.LABEL], common.IGNORE_ID)
        confident = tf.logical_and(is_image, confident)
        total = tf.reduce_sum(tf.cast(is_image, tf.float32), axis=(1, 2), keepdims=True)
        share = tf.reduce_sum(tf.cast(confident, tf.float32), axis=(1, 2), keepdims=True)
        share /= tf.maximum(total, 1.0)
        counted = self._mark_rows(target[common.LABEL])
        return {
            common.IMAGE: target[common.IMAGE],
            common.LABEL: tf.where(is_image, prediction, common.IGNORE_ID),
            common.WEIGHT: share * tf.cast(counted, tf.float32),
            common.MODE_LABEL: tf.where(confident & counted, prediction, common.IGNORE_ID),
        }

    def _mark_rows(self, label):
        """Returns where labels have weight, (B, H, W) bool."""
        height = tf.cast(tf.shape(label)[1], tf.float32)
        row = tf.range(height)[tf.newaxis, :, tf.newaxis] + 0.5
        top = row > self._online_settings["ignore_top"] * height
        bottom = row < (1.0 - self._online_settings["ignore_bottom"]) * height
        return tf.broadcast_to(top & bottom, tf.shape(label))

    def _mix(self, source, target):
        count = tf.shape(target[common.IMAGE])[0]
        # If the halves differ in size, source images are used more than once, or not at all.
        order = tf.range(count) % tf.shape(source[common.IMAGE])[0]
        image = tf.gather(source[common.IMAGE], order)
        label = tf.gather(source[common.LABEL], order)
        mask = class_mix.draw_class_masks(label, self.num_classes, **self._place(count))
        pasted = {
            common.IMAGE: image,
            common.LABEL: label,
            common.WEIGHT: tf.ones_like(target[common.WEIGHT]),
            common.MODE_LABEL: tf.fill(tf.shape(label), common.IGNORE_ID),
        }
        return {key: class_mix.paste(mask, pasted[key], target[key]) for key in target}

    def _augment(self, target):
        """Changes the colours of target images; the same image is changed in the same way."""
        settings = self._online_settings
        count = tf.shape(target[common.IMAGE])[0]
        images = student_view.augment_strongly(
            target[common.IMAGE],
            image_draws.draw(count, 7, **self._place(count, _AUGMENT)),
            jitter=settings["jitter"],
            jitter_chance=settings["jitter_chance"],
            blur_chance=settings["blur_chance"],
        )
        return {**target, common.IMAGE: images}

    def _mask(self, images):
        count, size = tf.shape(images)[0], images.shape[1:3]
        if None in tuple(size):
            raise UserError(
                "OnlineDrslModel.mask_weight needs images of a size that is known before training: "
                "crop them to one, or bind it to 0."
            )
        block = self._online_settings["mask_block"] or student_view.choose_block(size)
        blocks = student_view.count_blocks(size, block)
        draws = image_draws.draw(count, blocks, **self._place(count, _MASK))
        ratio = self._online_settings["mask_ratio"]
        return student_view.mask_blocks(images, draws, block, ratio, self._neutral_colour)

    def _place(self, count, purpose=0):
        """Returns the seed of a draw in this step, and the place of the images in the batch."""
        context = tf.distribute.get_replica_context()
        step = tf.cast(self.optimizer.iterations, tf.int32)
        return {
            "seed": tf.stack([self._settings["seed"] + purpose, step]),
            "first": tf.cast(context.replica_id_in_sync_group, tf.int32) * count,
            "total": context.num_replicas_in_sync * count,
        }

    def save_own_variables(self, store: Any) -> None:
        """Stores the teacher and the initial encoder, which belong to no layer.

        Args:
            store: dict-like, as Keras passes it to every layer that it saves.
        """
        super().save_own_variables(store)
        for index, variable in enumerate(self._list_stored()):
            store[f"{_TEACHER}{index}"] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Restores what `save_own_variables` stored.

        Args:
            store: dict-like, as Keras passes it to every layer that it loads.

        Raises:
            ValueError: it holds no matching teacher.
        """
        stored = {name: store[name] for name in store.keys()}
        values = {name: stored.pop(name) for name in list(stored) if name.startswith(_TEACHER)}
        super().load_own_variables(stored)
        variables = self._list_stored()
        shapes = [tuple(np.shape(values.get(f"{_TEACHER}{i}", ()))) for i in range(len(variables))]
        if len(values) != len(variables) or shapes != [tuple(v.shape) for v in variables]:
            raise ValueError(
                f"These weights hold {len(values)} of this model's {len(variables)} teacher "
                "variables: they are of another model. To start from the weights of a DrslModel, "
                "call load_weights(path, skip_mismatch=True), then adopt_weights()."
            )
        for index, variable in enumerate(variables):
            variable.assign(values[f"{_TEACHER}{index}"])

    def _list_stored(self):
        return self._teacher.variables + ([] if self._initial is None else self._initial.variables)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, without weights, that `from_config` rebuilds the model from."""
        return {
            **super().get_config(),
            **self._online_settings,
            "feature_classes": self._feature_classes,
        }
