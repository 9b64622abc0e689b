"""Exports the model of a run in the formats for serving."""

from __future__ import annotations

import os

from data_pipelines import cli
from data_pipelines.errors import UserError
from drsl_tf.experiments import loaded_run
from drsl_tf.serving import saved_models
from drsl_tf.serving.model_description import ModelDescription

FORMATS = ("saved_model", "tflite", "tflite_dynamic")


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
        path: the output; a TFLite file's name ends in ".tflite".
        format_name: one of `FORMATS`.
        checkpoint: as in `loaded_run.load_run`.
        size: "HEIGHTxWIDTH" of the network's input; "native" is each image's own, "run" the size
            that the run was scored at.
        precision: Keras's policy; None is the run's own, and "float32" for TFLite.

    Raises:
        UserError: the run cannot be read, the arguments are invalid, or the path exists.
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
    loaded = loaded_run.load_run(run_dir, checkpoint, "float32" if lite else precision)
    network_size = (
        loaded.experiment.get("inference").size if size == "run" else cli.parse_size(size)
    )
    space = loaded.experiment.label_space
    description = ModelDescription(space, network_size, loaded.experiment.id_table)
    if lite:
        dynamic = format_name == "tflite_dynamic"
        saved_models.export_tflite(loaded.model, description, path, dynamic_range=dynamic)
    else:
        saved_models.export_saved_model(loaded.model, description, path)
    seen = "its own size" if network_size is None else "{}x{}".format(*network_size)
    print(f"Exported {loaded.checkpoint}: {space.num_classes} classes, each image seen at {seen}.")
    print(f"Model: {path}")
