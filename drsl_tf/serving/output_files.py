"""Writes predictions as pictures, named after their images."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np
from absl import logging
from PIL import Image

from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from data_pipelines.labels import label_tables
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf import files
from drsl_tf.figures import label_maps
from drsl_tf.serving import georeference
from drsl_tf.serving import video
from drsl_tf.serving.input_files import Frame
from drsl_tf.serving.model_description import ModelDescription

KINDS = ("ids", "color", "overlay", "confidence")
FORMATS = ("png", "cityscapes")

_OVERLAY_OPACITY = 0.5
_CITYSCAPES_FRAME = re.compile(r"[^_/]+_\d+_\d+(?=_|$)")
_CITYSCAPES_IMAGE_ENDING = "_leftImg8bit"


class PredictionWriter:
    """Writes OUTPUT/KIND/NAME.png for every requested kind; NAME.tif where an image is a GeoTIFF.

    The overlay of a video is a video, complete when the next one begins or the context ends.

    "ids" are 8-bit grey PNGs of class ids (16-bit where native ids need it); "color" shows them in
    the label space's palette; "overlay" blends those colours with the image; "confidence" is 8-bit
    grey, 255 for 1.

    Args:
        output: the folder.
        kinds: some of `KINDS`.
        label_space: the classes of the predictions.
        format_name: "png", or "cityscapes": ids become Cityscapes' labelIds, under the file names
            that its evaluation expects.
        native_ids: (C,) the id to write for each class, from `choose_native_ids`; None writes the
            class ids.

    Raises:
        UserError: a kind or format is unknown, or the classes are not Cityscapes'.
    """

    def __init__(
        self,
        output: str,
        kinds: Sequence[str],
        label_space: LabelSpace,
        format_name: str = "png",
        native_ids: np.ndarray | None = None,
    ):
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown or not kinds:
            raise UserError(
                f"--what={','.join(kinds)} must name some of {', '.join(KINDS)}, with commas "
                "between them."
            )
        if format_name not in FORMATS:
            raise UserError(f"--format={format_name} must be one of {', '.join(FORMATS)}.")
        self._output = output
        self._video: video.VideoWriter | None = None
        self._kinds = list(kinds)
        self._label_space = label_space
        self._cityscapes = format_name == "cityscapes"
        self._table = np.arange(256, dtype=np.uint8) if native_ids is None else native_ids
        if self._cityscapes:
            self._table = make_label_id_table(label_space)

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(self, kind: type | None, *details: object) -> None:
        if self._video is not None:
            if kind is None:
                self._video.close()
            else:
                self._video.discard()

    def check_name(self, name: str) -> None:
        """Checks that a prediction can be written under a name.

        Args:
            name: an image's name.

        Raises:
            UserError: the format's evaluation cannot match it to an image.
        """
        if self._cityscapes and not _CITYSCAPES_FRAME.match(name.split("/")[-1]):
            raise UserError(
                f"--format=cityscapes needs image names such as aachen_000000_000019_leftImg8bit, "
                f"by which its evaluation finds predictions, but there is {name!r}."
            )

    def write(self, frame: Frame, label: np.ndarray, confidence: np.ndarray) -> None:
        """Writes one prediction.

        Args:
            frame: the image; its name has sub-folders.
            label: (H, W) uint8.
            confidence: (H, W) float32 in [0, 1].

        Raises:
            UserError: a file cannot be written.
        """
        for kind in self._kinds:
            if kind == "ids":
                picture = self._table[label]
            elif kind == "confidence":
                picture = np.round(255 * confidence).astype(np.uint8)
            else:
                picture = label_maps.color_label_map(label, self._label_space)
            if kind == "overlay":
                mixed = (1 - _OVERLAY_OPACITY) * frame.image + _OVERLAY_OPACITY * picture
                picture = np.round(mixed).astype(np.uint8)
            self._save(kind, frame, picture)

    def _save(self, kind, frame, picture):
        name = frame.name
        if kind == "overlay" and frame.rate is not None:
            self._append(frame, picture)
            return
        if self._cityscapes:
            if name.endswith(_CITYSCAPES_IMAGE_ENDING):
                name = name[: -len(_CITYSCAPES_IMAGE_ENDING)]
            name += "_pred_labelIds" if kind == "ids" else f"_pred_{kind}"
        path = os.path.join(self._output, kind, name)
        if frame.reference is None or self._cityscapes:
            files.write_png(f"{path}.png", Image.fromarray(picture))
        else:
            content = georeference.encode_geotiff(picture, frame.reference)
            files.write_bytes(f"{path}.tif", content)

    def _append(self, frame, picture):
        name = os.path.dirname(frame.name) + video.OUTPUT_SUFFIX
        path = os.path.join(self._output, "overlay", name)
        if self._video is not None and self._video.path != path:
            self._video.close()
            self._video = None
        if self._video is None:
            self._video = video.VideoWriter(path, frame.rate, picture.shape[:2])
        self._video.write(picture)


def make_label_id_table(label_space: LabelSpace) -> np.ndarray:
    """Creates the table from class ids to Cityscapes' labelIds.

    Args:
        label_space: classes whose names are among Cityscapes' 19.

    Returns:
        (256,) uint8; 0, unlabeled, for ids that are no class.

    Raises:
        UserError: a class is not Cityscapes'.
    """
    names = label_spaces.cityscapes19().class_names
    label_ids = {
        names[train_id]: label_id
        for label_id, train_id in label_tables.CITYSCAPES_LABEL_ID_TO_CITYSCAPES19.items()
        if train_id != label_spaces.IGNORE_ID
    }
    foreign = [name for name in label_space.class_names if name not in label_ids]
    if foreign:
        raise UserError(
            f"--format=cityscapes needs Cityscapes' classes, but the label space "
            f"{label_space.name} of the model has {', '.join(foreign)}."
        )
    table = np.zeros(256, np.uint8)
    table[: label_space.num_classes] = [label_ids[name] for name in label_space.class_names]
    return table


def choose_native_ids(model: str, description: ModelDescription) -> np.ndarray:
    """Inverts the table of the ids that the label files of a model's run contain.

    Where several stored ids are one class, the smallest is chosen, and logged.

    Args:
        model: path of the model, for messages.
        description: its description.

    Returns:
        (C,) uint8, or uint16 where ids exceed 255: a stored id for each class.

    Raises:
        UserError: the model has no table, or the table no id for a class.
    """
    if description.id_table is None:
        raise UserError(
            f"--ids=native needs the table of the ids in your label files, which {model} does not "
            "contain: it was exported before models contained it, or the table is in files of the "
            "data set. Export the run again, or leave --ids out."
        )
    chosen, shared, absent = [], [], []
    for index, name in enumerate(description.label_space.class_names):
        stored = sorted(key for key, value in description.id_table.items() if value == index)
        if not stored:
            absent.append(name)
            continue
        chosen.append(stored[0])
        if len(stored) > 1:
            shared.append(f"{name}: {stored[0]} of {', '.join(map(str, stored))}")
    if absent:
        raise UserError(
            f"--ids=native: the label files of the model's run have no id for {', '.join(absent)}. "
            "Leave --ids out to write class ids."
        )
    if shared:
        logging.warning(
            "Several ids of the label files are one class; the smallest is written. %s",
            "; ".join(shared),
        )
    return np.array(chosen, np.uint8 if max(chosen) < 256 else np.uint16)
