"""Exports a trained model in the formats for serving."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.io import whole_files
from drsl_tf import common
from drsl_tf import files
from drsl_tf.models import inference
from drsl_tf.models.model import DrslModel
from drsl_tf.serving import model_description
from drsl_tf.serving import onnx_runtime
from drsl_tf.serving import served_model
from drsl_tf.serving.model_description import ModelDescription

# Of the operations that ONNX Runtime has supported since 2022.
_OPSET = 17


def export_saved_model(model: DrslModel, description: ModelDescription, path: str) -> None:
    """Writes a SavedModel atomically.

    Its signatures: "serving_default", images (B, H, W, 3) uint8 RGB -> label (B, H, W) uint8 and
    confidence (B, H, W) float32; "encoded", the same from JPEG or PNG files (B,); "logits", images
    as float32 -> logits (B, H, W, C). Its description is an asset.

    Args:
        model: a `DrslModel`.
        description: its classes, and the size of the network's input; None is each image's own.
        path: the directory to create.

    Raises:
        UserError: the path is taken or cannot be written.
    """
    served = served_model.ServedModel(model, description.network_size)
    with _reserve(path) as partial:
        # TensorFlow copies the asset on saving; its content follows when there are files to hash.
        source = os.path.join(partial, model_description.NAME)
        files.write_text(source, "")
        served.description = tf.saved_model.Asset(source)
        result = os.path.join(partial, "model")
        with whole_files.explain_failures(path):
            tf.saved_model.save(served, result, signatures=served.signatures)
            model_description.write_description(
                model_description.locate_description(result), result, description
            )
            whole_files.sync_tree(result)
            whole_files.rename_whole(result, path)


def export_tflite(
    model: DrslModel, description: ModelDescription, path: str, dynamic_range: bool = False
) -> None:
    """Writes a TFLite file and its description, `PATH.json`.

    Its one signature is "serving_default" as in the SavedModel, for one image at a time.

    Args:
        model: a `DrslModel` of the policy "float32".
        description: its classes, and the size of its input images; None accepts every size.
        path: the file to write.
        dynamic_range: stores weights in 8 bits.

    Raises:
        UserError: the path is taken or cannot be written.
    """
    network = DrslModel(model.base, model.segmentation_head)
    height, width = description.network_size or (None, None)

    def serve(images):
        padded = inference.pad_images(tf.cast(images, tf.float32), network.size_multiple)
        logits = network(tf.ensure_shape(padded, (None, None, None, 3)), training=False)
        logits = inference.upsample_logits(
            logits[common.LOGITS], network.logits_stride, tf.shape(images)[1:3]
        )
        return served_model.classify(logits)

    function = tf.function(
        serve,
        input_signature=[tf.TensorSpec((1, height, width, 3), tf.uint8, served_model.IMAGES)],
    )
    module = tf.Module()
    module.weights = served_model.list_variables(network)
    with _reserve(path) as partial:
        folder = os.path.join(partial, "model")
        with whole_files.explain_failures(path):
            tf.saved_model.save(module, folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if dynamic_range:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        content = converter.convert()
        _write_file(content, path, description, partial)


def export_onnx(model: DrslModel, description: ModelDescription, path: str) -> None:
    """Writes an ONNX file and its description, `PATH.json`.

    Its inputs and outputs are those of "serving_default" in the SavedModel. The file has its name
    only after ONNX Runtime computed the same labels as the model.

    Args:
        model: a `DrslModel` of the policy "float32".
        description: its classes, and the size of its input images; None accepts every size.
        path: the file to write.

    Raises:
        UserError: the path is taken or cannot be written, packages are missing, the network cannot
            be converted, or ONNX Runtime computes other labels.
    """
    onnx_runtime.require_packages()
    import tf2onnx

    network = DrslModel(model.base, model.segmentation_head)
    height, width = description.network_size or (None, None)
    function = tf.function(
        lambda images: served_model.classify(inference.predict_full_size_logits(network, images)),
        input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8, served_model.IMAGES)],
    )
    with _reserve(path) as partial:
        try:
            converted, _ = tf2onnx.convert.from_function(
                function,
                input_signature=function.input_signature,
                opset=_OPSET,
                custom_op_handlers={"Erfc": (_convert_erfc, [])},
            )
        except Exception as error:
            raise UserError(
                f"The network cannot be converted to ONNX: {type(error).__name__}: {error} Export "
                "it with --format=saved_model or tflite."
            ) from error
        content = converted.SerializeToString()
        onnx_runtime.check_labels(content, function, description.network_size)
        _write_file(content, path, description, partial)


def _convert_erfc(graph, node, name, arguments):
    """Replaces erfc(x), of Keras 3's GELU, which ONNX lacks, by 1 - erf(x)."""
    del arguments
    (output,) = node.output
    dtype, shape = graph.get_dtype(output), graph.get_shape(output)
    inputs = list(node.input)
    graph.remove_node(name)
    erf = graph.make_node("Erf", inputs, dtypes=[dtype], shapes=[shape])
    one = graph.make_const(f"{name}_one", np.ones((), np.float32))
    graph.make_node(
        "Sub", [one.output[0], erf.output[0]], name=name, outputs=[output],
        dtypes=[dtype], shapes=[shape],
    )  # fmt: skip


def _write_file(content, path, description, partial):
    """Writes a model that is one file, and its description, by way of a temporary directory."""
    result = os.path.join(partial, os.path.basename(path))
    with whole_files.explain_failures(path):
        whole_files.write_whole(result, lambda file: file.write(content))
        model_description.write_description(
            model_description.locate_description(path), result, description
        )
        whole_files.rename_whole(result, path)


@contextlib.contextmanager
def _reserve(path):
    """Creates a temporary directory beside a path that must not exist, and removes it."""
    if os.path.exists(path):
        raise UserError(f"{path} exists already; choose another --output or remove it first.")
    parent = os.path.dirname(os.path.abspath(path))
    with whole_files.explain_failures(path):
        whole_files.make_folder(parent)
        partial = tempfile.mkdtemp(prefix=".export-", dir=parent)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
