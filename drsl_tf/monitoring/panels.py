"""Pictures of a few target images and their predictions, stored after every stage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from data_pipelines.batches import whole_images as image_batches
from data_pipelines.batches.adaptation import read_id_map
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf import common
from drsl_tf import files
from drsl_tf.distribution.replicated import ReplicatedFunction
from drsl_tf.figures import label_maps
from drsl_tf.models import inference
from drsl_tf.runs import panel_files
from drsl_tf.runs.run_directory import PseudoLabelDirectory
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training import pseudo_labels

_MOST_PIXELS_WIDE = 512


class PanelWriter(keras.callbacks.Callback):
    """Writes, after every stage, the panels of a fixed set of target images.

    They are written to `RUN_DIR/panels`: PNGs of at most 512 pixels in width, and `index.json`
    with frames, classes and colours.

    Args:
        run_dir: the run's directory.
        domain: the target.
        pairs: the frames, of the pseudo-labelled split.
        strategy: distribution strategy of the model.
        size: (height, width) of the network's input; None is each image's own.

    Attributes:
        pictures: of the last stage, (H, W, 3) uint8 by name, such as "frame_0/prediction".
    """

    def __init__(
        self,
        run_dir: str,
        domain: Domain,
        pairs: Sequence[Pair],
        strategy: tf.distribute.Strategy,
        size: tuple[int, int] | None = None,
    ):
        super().__init__()
        self._run_dir = run_dir
        self._domain = domain
        self._pairs = list(pairs)
        self._strategy = strategy
        self._size = size
        self._run: ReplicatedFunction | None = None
        self._run_labels: ReplicatedFunction | None = None
        self._frames: dict[str, np.ndarray] = {}
        self.pictures: dict[str, np.ndarray] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the panels of a stage.

        Args:
            epoch: 0 for the source stage, then the round.
            logs: not used.
        """
        space = self._domain.label_space
        head = self.model.multimodal_head
        if self._run is None:
            self._run = ReplicatedFunction(self._predict, self._strategy)
            if self.model.labels_online:
                self._run_labels = ReplicatedFunction(self._label_online, self._strategy)
            self._write_frames(space)
            self._frames = dict(self.pictures)
        self.pictures = dict(self._frames)
        num_modes = 0 if head is None else head.modes_per_class
        palette = label_maps.make_mode_palette(space, max(num_modes, 1))
        for frame, (pair, image) in enumerate(self._read_images()):
            confidence, prediction, *modes = self._run(image[np.newaxis])
            shape = prediction.shape[1:]
            painted = label_maps.color_label_map(prediction[0], space)
            self._save("prediction", frame, epoch, painted)
            heat = label_maps.color_confidence(confidence[0])
            self._save("confidence", frame, epoch, heat)
            if modes:
                stride = self.model.embedding_stride
                ids = modes[0][0].repeat(stride, axis=0).repeat(stride, axis=1)
                self._save("mode_map", frame, epoch, palette[ids[: shape[0], : shape[1]]])
            ids = self._find_labels(epoch, pair, image)
            if ids is not None:
                painted = label_maps.color_label_map(ids, space)
                self._save("pseudo_label", frame, epoch, painted)

    def _find_labels(self, epoch, pair, image):
        """Returns a stage's labels of an image, (H, W); None if there are none.

        They are the pseudo-labels that it trained on, or the teacher's at its end.
        """
        if self._run_labels is not None:
            return self._run_labels(image[np.newaxis])[0][0] if epoch else None
        # Read from disk: in a resumed run an earlier process wrote the labels.
        folder = RunDirectory(self._run_dir).locate_pseudo_labels(epoch)
        path = PseudoLabelDirectory(folder).locate_label(pair.name)
        return read_id_map(path, self._domain.max_pixels) if os.path.isfile(path) else None

    def _label_online(self, images):
        """Returns the model's own labels of images, without those that are not confident."""
        labels, confident = self.model.label_images(images)
        return (tf.where(confident, labels, common.IGNORE_ID),)

    def _predict(self, images):
        outputs = inference.predict_logits(self.model, images)
        logits = inference.upsample_logits(
            outputs[common.LOGITS], self.model.logits_stride, tf.shape(images)[1:3]
        )
        results = pseudo_labels.confidence_and_prediction(logits)
        head = self.model.multimodal_head
        return (
            (*results, inference.find_modes(outputs, head.modes)) if head is not None else results
        )

    def _read_images(self):
        batches = image_batches.iterate_image_batches(
            self._pairs, self._domain.read_image, size=self._size, batch_size=1
        )
        for batch in batches:
            yield batch.pairs[0], batch.images[0]

    def _write_frames(self, space: LabelSpace):
        for frame, (pair, image) in enumerate(self._read_images()):
            self._save("image", frame, 0, np.clip(image + 0.5, 0, 255).astype(np.uint8))
            if pair.label_path is not None:
                truth = self._domain.read_label(pair.label_path)
                self._save("truth", frame, 0, label_maps.color_label_map(truth, space))
        head = self.model.multimodal_head
        index = panel_files.PanelIndex(
            schema=1,
            frames=[pair.name for pair in self._pairs],
            class_names=list(space.class_names),
            palette=list(space.palette),
            modes_per_class=0 if head is None else head.modes_per_class,
        )
        files.write_json(RunDirectory(self._run_dir).panels, index.as_json())

    def _save(self, panel, frame, round_index, picture):
        path = panel_files.locate_panel(self._run_dir, panel, frame, round_index)
        image = Image.fromarray(picture)
        if image.width > _MOST_PIXELS_WIDE:
            height = max(1, round(image.height * _MOST_PIXELS_WIDE / image.width))
            smooth = panel in ("image", "confidence")
            method = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
            image = image.resize((_MOST_PIXELS_WIDE, height), method)
        files.write_png(path, image, optimize=True)
        self.pictures[f"frame_{frame}/{panel}"] = np.asarray(image)
