"""Writes a trained model in the formats that are served."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Optional
from typing import Tuple

import tensorflow as tf

from data_pipelines import whole_files
from data_pipelines.errors import UserError
from data_pipelines.label_spaces import LabelSpace
from drsl_tf import common
from drsl_tf import files
from drsl_tf import inference
from drsl_tf import model_description
from drsl_tf import runs
from drsl_tf import serving
from drsl_tf import sizes
from drsl_tf.model import DrslModel

FORMATS = ("saved_model", "tflite", "tflite_dynamic")


def export_run(
    run_dir: str,
    path: str,
    *,
    format_name: str = "saved_model",
    checkpoint: str = "last",
    size: str = "run",
    precision: Optional[str] = None,
) -> None:
    """Exports the model of a run, and says so on standard output.

    Args:
        run_dir: a run's directory.
        path: what to write; a TFLite file's name ends in ".tflite".
        format_name: one of `FORMATS`.
        checkpoint: as in `runs.load_run`.
        size: "HEIGHTxWIDTH" at which the network sees every image; "native" is each image's own,
            "run" what the run was scored with.
        precision: Keras's policy; None is the run's own, and "float32" for TFLite.

    Raises:
        UserError: the run cannot be read, the arguments do not fit, or the path is taken.
    """
    lite = format_name != "saved_model"
    if lite != path.endswith(".tflite"):
        raise UserError(
            f"--output={path} does not fit --format={format_name}: the name of a TFLite file, and "
            "of nothing else, ends in .tflite."
        )
    if lite and precision not in (None, "float32"):
        raise UserError(f"--precision={precision} does not fit TFLite, which computes in float32.")
    if os.path.exists(path):
        raise UserError(f"{path} exists already; choose another --output or remove it first.")
    loaded = runs.load_run(run_dir, checkpoint, "float32" if lite else precision)
    network_size = (
        loaded.experiment.get("inference_size") if size == "run" else sizes.parse_size(size)
    )
    space = loaded.experiment.label_space
    if lite:
        dynamic = format_name == "tflite_dynamic"
        export_tflite(loaded.model, space, path, network_size, dynamic_range=dynamic)
    else:
        export_saved_model(loaded.model, space, path, network_size)
    seen = "its own size" if network_size is None else "{}x{}".format(*network_size)
    print(f"Exported {loaded.checkpoint}: {space.num_classes} classes, each image seen at {seen}.")
    print(f"Model: {path}")


def export_saved_model(
    model, label_space: LabelSpace, path: str, size: Optional[Tuple[int, int]] = None
) -> None:
    """Writes a SavedModel, whole or not at all.

    Its signatures: "serving_default", images (B, H, W, 3) uint8 RGB -> label (B, H, W) uint8 and
    confidence (B, H, W) float32; "encoded", the same from JPEG or PNG files (B,); "logits", images
    as float32 -> logits (B, H, W, C). Its description lies among its assets.

    Args:
        model: a `DrslModel`.
        label_space: its classes.
        path: the directory to make.
        size: (height, width) at which the network sees every image; None is each image's own.

    Raises:
        UserError: the path is taken or cannot be written.
    """
    served = serving.ServedModel(model, size)
    description = model_description.ModelDescription(label_space, size)
    partial = _reserve(path)
    try:
        # TensorFlow copies an asset as it saves; its content follows, once there are files to hash.
        source = os.path.join(partial, model_description.NAME)
        files.write_text(source, "")
        served.description = tf.saved_model.Asset(source)
        result = os.path.join(partial, "model")
        with whole_files.explain_failures(path, through=partial):
            tf.saved_model.save(served, result, signatures=served.signatures)
            model_description.write_description(
                model_description.locate_description(result), result, description
            )
            whole_files.sync_tree(result)
            whole_files.rename_whole(result, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def export_tflite(
    model,
    label_space: LabelSpace,
    path: str,
    size: Optional[Tuple[int, int]] = None,
    dynamic_range: bool = False,
) -> None:
    """Writes a TFLite file and its description, `PATH.json`.

    Its one signature is "serving_default" as in the SavedModel, for one image at a time.

    Args:
        model: a `DrslModel` of the policy "float32".
        label_space: its classes.
        path: the file to write.
        size: (height, width) of the images it takes; None takes every size.
        dynamic_range: stores weights in 8 bits.

    Raises:
        UserError: the path is taken or cannot be written.
    """
    network = DrslModel(model.base, model.segmentation_head)
    height, width = size or (None, None)

    def serve(images):
        # Padding with sizes known at run time alone forgets the channels, which TFLite must know.
        padded = inference.pad_images(tf.cast(images, tf.float32))
        padded = tf.reshape(padded, tf.concat([tf.shape(padded)[:3], [3]], axis=0))
        logits = network(tf.ensure_shape(padded, (None, None, None, 3)), training=False)
        logits = inference.upsample_logits(
            logits[common.LOGITS], network.logits_stride, tf.shape(images)[1:3]
        )
        return serving.classify(logits)

    function = tf.function(
        serve,
        input_signature=[tf.TensorSpec((1, height, width, 3), tf.uint8, serving.IMAGES)],
    )
    module = tf.Module()
    module.weights = serving.list_variables(network)
    description = model_description.ModelDescription(label_space, size)
    partial = _reserve(path)
    try:
        folder = os.path.join(partial, "model")
        with whole_files.explain_failures(path, through=partial):
            tf.saved_model.save(module, folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if dynamic_range:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        content = converter.convert()
        result = os.path.join(partial, os.path.basename(path))
        with whole_files.explain_failures(path, through=partial):
            whole_files.write_whole(result, lambda file: file.write(content))
            model_description.write_description(
                model_description.locate_description(path), result, description
            )
            whole_files.rename_whole(result, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _reserve(path):
    """Makes a temporary directory beside a path that must be free."""
    if os.path.exists(path):
        raise UserError(f"{path} exists already; choose another --output or remove it first.")
    parent = os.path.dirname(os.path.abspath(path))
    with whole_files.explain_failures(path):
        whole_files.make_folder(parent)
        return tempfile.mkdtemp(prefix=".export-", dir=parent)
