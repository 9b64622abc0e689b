"""Writes a trained model in the formats that are served."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from typing import Any, Dict, Optional, Tuple

import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.label_spaces import LabelSpace
from drsl_tf import __version__
from drsl_tf import common
from drsl_tf import files
from drsl_tf import inference
from drsl_tf import runs
from drsl_tf import serving
from drsl_tf.model import DrslModel

DESCRIPTION_NAME = "segmentation.json"
FORMATS = ("saved_model", "tflite", "tflite_dynamic")


def describe_model(
    label_space: LabelSpace, size: Optional[Tuple[int, int]] = None
) -> Dict[str, Any]:
    """Describes an exported model for whoever uses it.

    Args:
        label_space: its classes.
        size: (height, width) at which the network sees every image, or None.

    Returns:
        A dict that JSON can hold.
    """
    return {
        "schema": 1,
        "label_space": label_space.name,
        "class_names": list(label_space.class_names),
        "palette": [list(color) for color in label_space.palette],
        "ignore_id": common.IGNORE_ID,
        "network_size": None if size is None else list(size),
        "drsl_tf": __version__,
        "tensorflow": tf.__version__,
    }


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
    network_size = loaded.experiment.get("inference_size") if size == "run" else parse_size(size)
    space = loaded.experiment.label_space
    if lite:
        dynamic = format_name == "tflite_dynamic"
        export_tflite(loaded.model, space, path, network_size, dynamic_range=dynamic)
    else:
        export_saved_model(loaded.model, space, path, network_size)
    seen = "its own size" if network_size is None else "{}x{}".format(*network_size)
    print(f"Exported {loaded.checkpoint}: {space.num_classes} classes, each image seen at {seen}.")
    print(f"Model: {path}")


def parse_size(text: str) -> Optional[Tuple[int, int]]:
    """Reads a size that a flag gives.

    Args:
        text: "HEIGHTxWIDTH" in pixels, or "native".

    Returns:
        (height, width); None for "native".

    Raises:
        UserError: it is neither.
    """
    if text == "native":
        return None
    numbers = text.split("x")
    if len(numbers) != 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise UserError(f"The size {text!r} is not HEIGHTxWIDTH in pixels, such as 512x1024.")
    return int(numbers[0]), int(numbers[1])


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
    partial = _reserve(path)
    try:
        # The asset is read from here while the model is saved, and from the model ever after.
        source = os.path.join(partial, DESCRIPTION_NAME)
        files.write_json(source, describe_model(label_space, size))
        served.description = tf.saved_model.Asset(source)
        result = os.path.join(partial, "model")
        tf.saved_model.save(served, result, signatures=served.signatures)
        os.rename(result, path)
    except OSError as error:
        raise UserError(f"The model cannot be written to {path}: {error}") from error
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
    partial = _reserve(path)
    try:
        folder = os.path.join(partial, "model")
        tf.saved_model.save(module, folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if dynamic_range:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        content = converter.convert()
        result = os.path.join(partial, "model.tflite")
        with open(result, "wb") as file:
            file.write(content)
        files.write_json(path + ".json", describe_model(label_space, size))
        os.rename(result, path)
    except OSError as error:
        raise UserError(f"The model cannot be written to {path}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_description(path: str) -> Dict[str, Any]:
    """Reads the description of an exported model.

    Args:
        path: a SavedModel's directory or a TFLite file.

    Returns:
        What `describe_model` gave.

    Raises:
        UserError: it was not exported by this package.
    """
    place = path + ".json"
    if not path.endswith(".tflite"):
        place = os.path.join(path, "assets", DESCRIPTION_NAME)
    try:
        return files.read_json(place)
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path} is no exported model, its description {place} cannot be read ({error}). "
            "Make one by: python -m drsl_tf.export --run_dir=RUN --output=MODEL"
        ) from error


def _reserve(path):
    """Makes a temporary directory beside a path that must be free."""
    if os.path.exists(path):
        raise UserError(f"{path} exists already; choose another --output or remove it first.")
    parent = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(parent, exist_ok=True)
        return tempfile.mkdtemp(prefix=".export-", dir=parent)
    except OSError as error:
        raise UserError(f"The model cannot be written to {path}: {error}") from error
