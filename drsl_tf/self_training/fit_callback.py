"""Rounds of self-training inside `fit`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from data_pipelines.batches import whole_images
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf import common
from drsl_tf.distribution.workers import Workers
from drsl_tf.models import batch_forms
from drsl_tf.models.inference import Inference
from drsl_tf.runs.label_report import LabelReport
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler


class SelfTrainingCallback(keras.callbacks.Callback):
    """Labels the target at the start of every round of a `DrslModel.fit`, and adds it to batches.

        model.fit(source, epochs=10)
        model.fit(source, epochs=6, callbacks=[drsl_tf.SelfTrainingCallback(images, batch_size=4)])

    The first `fit` trains on the source alone, without which there is nothing to label with. In the
    second, a round is `epochs_per_round` epochs; round 1 begins with the call. Images of the target
    and their pseudo-labels of this round make up the target half of every batch, in random order.
    Under a strategy of several replicas, the first batches of a round may be drawn before it is
    labelled.

    An `OnlineDrslModel` labels the target itself, in every step; it gets the images alone.

    `fit` finds it in the list of callbacks, not inside a `keras.callbacks.CallbackList`.

    `drsl_tf.adapt` does more: files of any number, crops, scores and checkpoints of each round.

    Args:
        target: (N, H, W, 3) array of the target's images, RGB in [0, 255], kept as uint8; of the
            size of the source's images in a batch.
        batch_size: target images in a batch, over all replicas.
        epochs_per_round: epochs between two labellings.
        pseudo_labeler: selects the pseudo-labels; None is `PseudoLabeler()`.
        inference_batch: images per batch in labelling.
        seed: seed of the order of the images.

    Raises:
        UserError: an argument is invalid.
    """

    def __init__(
        self,
        target: Any,
        *,
        batch_size: int,
        epochs_per_round: int = 1,
        pseudo_labeler: PseudoLabeler | None = None,
        inference_batch: int = 8,
        seed: int = 0,
    ):
        super().__init__()
        numbers = {
            "batch_size": batch_size,
            "epochs_per_round": epochs_per_round,
            "inference_batch": inference_batch,
        }
        for name, value in numbers.items():
            if value < 1:
                raise UserError(f"SelfTrainingCallback.{name} is {value}; it must be at least 1.")
        images = np.asarray(batch_forms.check_images(target))
        if not len(images):
            raise UserError("SelfTrainingCallback.target has no image.")
        self._images = np.clip(np.rint(images), 0, 255).astype(np.uint8)
        self._labels = np.full(images.shape[:3], common.IGNORE_ID, np.uint8)
        self._batch_size = batch_size
        self._epochs_per_round = epochs_per_round
        self._pseudo_labeler = pseudo_labeler or PseudoLabeler()
        self._inference_batch = inference_batch
        self._random = np.random.default_rng(seed)
        self._epochs = 0
        self._joined = False
        self._reports: list[LabelReport] = []

    @property
    def labels(self) -> np.ndarray:
        """(N, H, W) uint8 pseudo-labels of the last round, 255 where there is none."""
        return self._labels.copy()

    @property
    def reports(self) -> list[LabelReport]:
        """The report of each round's pseudo-labels, since the last `fit` began."""
        return list(self._reports)

    def join_target(self, source: Any) -> tf.data.Dataset:
        """Adds the target half to batches of the source; called by `DrslModel.fit`.

        Args:
            source: `tf.data.Dataset` of labelled batches, see `batch_forms.read_batch`.

        Returns:
            A dataset of as many batches, `{"source": half, "target": half}`.

        Raises:
            UserError: the source is no dataset, has a target, or its images have another size.
        """
        if not isinstance(source, tf.data.Dataset):
            raise UserError(
                "SelfTrainingCallback needs the source as a tf.data.Dataset of batches: "
                "tf.data.Dataset.from_tensor_slices((images, labels)).batch(...)."
            )
        size = (self._batch_size, *self._images.shape[1:3])
        target = tf.data.Dataset.from_generator(
            self._draw_batches,
            output_signature={
                common.IMAGE: tf.TensorSpec((*size, 3), tf.uint8),
                common.LABEL: tf.TensorSpec(size, tf.uint8),
            },
        )
        # No map follows, and no prefetch: batches drawn ahead have labels of the round before.
        joined = tf.data.Dataset.zip({
            common.SOURCE: source.map(self._read_source),
            common.TARGET: target,
        })  # fmt: skip
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        joined = joined.with_options(options)
        self._joined = True
        count = source.cardinality()
        return joined.apply(tf.data.experimental.assert_cardinality(count)) if count > 0 else joined

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins with round 1.

        Raises:
            UserError: no dataset was joined, so that the target would not be in the batches, or
                the job has several processes.
        """
        if not self._joined:
            raise UserError(
                "SelfTrainingCallback would have no effect: give it to DrslModel.fit in the list "
                "of callbacks itself, fit(source, callbacks=[...]). A run of drsl_tf.train or "
                "drsl_tf.adapt labels its target without it: remove it from "
                "Monitoring.callbacks."
            )
        if Workers(self.model.distribute_strategy).count > 1:
            raise UserError(
                "SelfTrainingCallback labels the target in one process, and this job has several. "
                "Train it by drsl_tf.adapt or python -m drsl_tf.train."
            )
        self._joined = False
        self._epochs = 0
        self._reports = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Labels the target, if a round begins."""
        begins = self._epochs % self._epochs_per_round == 0
        self._epochs += 1
        if begins and not self.model.labels_online:
            self._label()

    def _label(self):
        pairs = [Pair(f"{index:08d}", str(index), None) for index in range(len(self._images))]
        with tempfile.TemporaryDirectory() as folder:
            labelled, report = self._pseudo_labeler.generate(
                self.model,
                self.model.distribute_strategy,
                _Images(self._images, self.model.num_classes),
                pairs,
                round_index=len(self._reports) + 1,
                directory=os.path.join(folder, "labels"),
                inference=Inference(batch_size=self._inference_batch),
            )
            size = self._images.shape[1:3]
            self._labels = np.stack([_read_label(pair.label_path, size) for pair in labelled])
        self._reports.append(report)

    def _draw_batches(self) -> Iterator[dict[str, np.ndarray]]:
        order = np.zeros(0, np.int64)
        while True:
            while len(order) < self._batch_size:
                order = np.concatenate([order, self._random.permutation(len(self._images))])
            chosen, order = order[: self._batch_size], order[self._batch_size :]
            labels = self._labels[chosen]
            if self.model.labels_online:
                labels = np.zeros_like(labels)  # 255 would mark padding.
            yield {common.IMAGE: self._images[chosen], common.LABEL: labels}

    def _read_source(self, *parts):
        source = parts if len(parts) > 1 else parts[0]
        if isinstance(source, dict) and common.TARGET in source:
            raise UserError(
                "SelfTrainingCallback adds the target to every batch: leave it out of the dataset."
            )
        half = batch_forms.read_batch(source)[common.SOURCE]
        size = half[common.IMAGE].shape[1:3]
        if not size.is_compatible_with(self._images.shape[1:3]):
            raise UserError(
                f"SelfTrainingCallback.target has images of {self._images.shape[1:3]} pixels, and "
                f"the source of {size}: crop or resize them to one size."
            )
        return half


class _Images(Domain):
    """Images in memory, read by their index.

    Args:
        images: (N, H, W, 3) uint8.
        num_classes: number of the label space's classes.
    """

    def __init__(self, images: np.ndarray, num_classes: int):
        self._images = images
        self._num_classes = num_classes
        super().__init__(root="memory")

    def native_space(self) -> LabelSpace:
        """Returns classes named by their ids."""
        names = [str(index) for index in range(self._num_classes)]
        return label_spaces.custom(name="ids", class_names=names)

    def read_image(self, path: str) -> np.ndarray:
        """Returns the image of an index."""
        return self._images[int(path)]


def _read_label(path, size):
    with Image.open(path) as image:
        return whole_images.resize_label_map(np.asarray(image), size)
