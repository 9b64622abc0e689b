"""Exports the model of a run in the formats for serving."""

from __future__ import annotations

import os

from data_pipelines import cli
from data_pipelines.errors import UserError
from drsl_tf.experiments import loaded_run
from drsl_tf.serving import model_description
from drsl_tf.serving import onnx_runtime
from drsl_tf.serving import saved_models
from drsl_tf.serving.model_description import FILE_SUFFIXES
from drsl_tf.serving.model_description import ModelDescription

FORMATS = {
    "saved_model": "",
    "tflite": model_description.TFLITE_SUFFIX,
    "tflite_dynamic": model_description.TFLITE_SUFFIX,
    "onnx": model_description.ONNX_SUFFIX,
}
"""The formats, and how the names of their files end."""


def export_run(
    run_dir: str,
    path: str,
    *,
    format_name: str = "saved_model",
    checkpoint: str = "last",
    size: str = "run",
    precision: str | None = None,
) -> None:
    """Exports the model of a run, and prints what was exported.

    Args:
        run_dir: a run's directory.
        path: the output; its name ends as `FORMATS` says.
        format_name: one of `FORMATS`.
        checkpoint: as in `loaded_run.load_run`.
        size: "HEIGHTxWIDTH" of the network's input; "native" is each image's own, "run" the size
            that the run was scored at.
        precision: Keras's policy; None is the run's own, and "float32" for TFLite and ONNX.

    Raises:
        UserError: the run cannot be read, the arguments are invalid, or the path exists.
    """
    if format_name not in FORMATS:
        raise UserError(f"--format={format_name} must be one of {', '.join(FORMATS)}.")
    suffix = FORMATS[format_name]
    if not path.endswith(suffix) or not suffix and path.endswith(FILE_SUFFIXES):
        raise UserError(
            f"--output={path} does not fit --format={format_name}: the name of a TFLite file, and "
            "of nothing else, ends in .tflite, that of an ONNX file in .onnx."
        )
    if suffix and precision not in (None, "float32"):
        raise UserError(
            f"--precision={precision} does not fit --format={format_name}: it is float32."
        )
    if format_name == "onnx":
        onnx_runtime.require_packages()
    if os.path.exists(path):
        raise UserError(f"{path} exists already; choose another --output or remove it first.")
    loaded = loaded_run.load_run(run_dir, checkpoint, "float32" if suffix else precision)
    network_size = (
        loaded.experiment.get("inference").size if size == "run" else cli.parse_size(size)
    )
    space = loaded.experiment.label_space
    description = ModelDescription(space, network_size, loaded.experiment.id_table)
    if format_name == "saved_model":
        saved_models.export_saved_model(loaded.model, description, path)
    elif format_name == "onnx":
        saved_models.export_onnx(loaded.model, description, path)
    else:
        dynamic = format_name == "tflite_dynamic"
        saved_models.export_tflite(loaded.model, description, path, dynamic_range=dynamic)
    seen = "its own size" if network_size is None else "{}x{}".format(*network_size)
    print(f"Exported {loaded.checkpoint}: {space.num_classes} classes, each image seen at {seen}.")
    print(f"Model: {path}")
