"""Predicts the label maps of a folder of images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import numpy as np
from absl import logging

from data_pipelines import progress
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.map_ahead import map_ahead
from drsl_tf.networks.layers.image_grid import DEFAULT_MULTIPLE
from drsl_tf.serving import georeference
from drsl_tf.serving import input_files
from drsl_tf.serving import output_files
from drsl_tf.serving import tiling
from drsl_tf.serving import video
from drsl_tf.serving.output_files import PredictionWriter
from drsl_tf.serving.predictor import Predictor

DEFAULT_TILE = (1024, 2048)
IDS = ("class", "native")
_WRITERS = 4


def predict_files(
    model: str,
    patterns: str | Sequence[str],
    output: str,
    *,
    kinds: Sequence[str] = ("ids",),
    format_name: str = "png",
    ids: str = "class",
    batch_size: int = 4,
    tile: tuple[int, int] | None = DEFAULT_TILE,
    overlap: int = 128,
    max_pixels: int = decoding.MAX_PIXELS,
    max_value: int | None = None,
) -> dict[str, str]:
    """Predicts every image and video frame of one or several inputs.

    Args:
        model: a SavedModel, TFLite or ONNX file that `drsl_tf.export` wrote.
        patterns: file, folder or glob, or several, as in `input_files.find_inputs`.
        output: the folder to write to.
        kinds: what to write, some of `output_files.KINDS`.
        format_name: one of `output_files.FORMATS`.
        ids: one of `IDS`: class ids, or the ids of the label files of the model's run.
        batch_size: most images per batch; only consecutive images of one size share a batch.
        tile: (height, width); an image that is larger in height or width is predicted in tiles of
            at most this size. None, or a model with a fixed network size, predicts every image
            whole.
        overlap: fewest pixels that neighbouring tiles share.
        max_pixels: larger images are skipped.
        max_value: the value of images of more than 8 bits that is read as 255; None keeps the high
            8 bits.

    Returns:
        Path -> reason for every file that could not be read.

    Raises:
        UserError: the arguments are invalid, there is no input, or an output cannot be written.
    """
    if batch_size < 1:
        raise UserError(f"--batch_size={batch_size} must be at least 1.")
    if max_pixels < 1:
        raise UserError(f"--max_pixels={max_pixels} must be at least 1.")
    if max_value is not None and max_value < 1:
        raise UserError(f"--max_value={max_value} must be at least 1.")
    if tile is not None and min(tile) - overlap < DEFAULT_MULTIPLE or overlap < 0:
        raise UserError(
            f"--overlap={overlap} must lie between 0 and {min(tile or DEFAULT_TILE)} - "
            f"{DEFAULT_MULTIPLE}: a tile must reach beyond what it shares with the next."
        )
    if ids not in IDS:
        raise UserError(f"--ids={ids} must be one of {', '.join(IDS)}.")
    if ids == "native" and format_name == "cityscapes":
        raise UserError(
            "--format=cityscapes writes Cityscapes' labelIds whatever the model's own ids are; "
            "leave out --ids=native or the format."
        )
    own_folders = [os.path.join(output, kind) for kind in output_files.KINDS]
    inputs = input_files.find_inputs(patterns, excluded=own_folders)
    if any(source.is_video for source in inputs):
        video.require_opencv()
    lost = next((source.path for source in inputs if georeference.is_lost(source.path)), None)
    if lost is not None:
        logging.warning(
            "%s is a GeoTIFF; label maps are written without georeference. To keep it, "
            "pip install 'drsl_tf[geo]'.",
            lost,
        )
    predictor = Predictor(model)
    native = None
    if ids == "native":
        native = output_files.choose_native_ids(model, predictor.description)
    writer = PredictionWriter(output, kinds, predictor.label_space, format_name, native)
    for source in inputs:
        writer.check_name(source.name)
    if predictor.network_size is not None:
        tile = None
    skipped: dict[str, str] = {}
    frames = input_files.read_frames(inputs, max_pixels, skipped, max_value)

    def predict_all():
        for group in input_files.group_frames(frames, batch_size):
            height, width = group[0].image.shape[:2]
            if tile is not None and (height > tile[0] or width > tile[1]):
                results = [
                    tiling.predict_in_tiles(predictor.predict, frame.image, tile, overlap)
                    for frame in group
                ]
            else:
                images = np.stack([frame.image for frame in group])
                results = list(zip(*predictor.predict(images)))
            for frame, (label, confidence) in zip(group, results):
                yield frame, label, confidence

    # A video's overlay takes its frames in order.
    writers = 1 if any(source.is_video for source in inputs) else _WRITERS
    written = map_ahead(lambda result: writer.write(*result), predict_all(), writers)
    with (
        writer,
        # Ends the threads before the writer.
        contextlib.closing(written),
        progress.make_progress_bar(len(inputs), "predicting", "image") as bar,
    ):
        for _ in written:
            bar.update(1)
    return skipped
