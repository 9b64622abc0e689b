"""Loads the model of a run with the weights of one of its checkpoints."""

from __future__ import annotations

import os
from typing import NamedTuple

import keras

from data_pipelines.errors import UserError
from drsl_tf.config.configuration import Configuration
from drsl_tf.experiments.experiment import Experiment
from drsl_tf.models.model import DrslModel
from drsl_tf.runs import stored_weights
from drsl_tf.runs.run_directory import RunDirectory


class LoadedRun(NamedTuple):
    """A trained model and the experiment it comes from.

    Attributes:
        model: has the checkpoint's weights.
        experiment: as the run's configuration defines it.
        checkpoint: path of the checkpoint.
    """

    model: DrslModel
    experiment: Experiment
    checkpoint: str


def load_run(run_dir: str, checkpoint: str = "last", precision: str | None = None) -> LoadedRun:
    """Builds the model of a run and restores the weights of a checkpoint.

    Args:
        run_dir: a directory that `drsl_tf.train` wrote.
        checkpoint: as in `stored_weights.find_checkpoint`.
        precision: Keras's policy to build under; None is the run's own.

    Returns:
        The run.

    Raises:
        UserError: the directory holds no run, no such checkpoint, or one of another model or of
            the other line of Keras.
    """
    config = os.path.abspath(RunDirectory(run_dir).config)
    if not os.path.isfile(config):
        raise UserError(
            f"{os.path.abspath(run_dir)} is no run directory: it holds no config.gin. Name what "
            "--run_dir of drsl_tf.train named."
        )
    path = stored_weights.find_checkpoint(run_dir, checkpoint)
    # The checkpoint holds the weights; the file of the initial weights may be absent here.
    without = ["WEIGHTS = None"] if "WEIGHTS" in Configuration([config]).bindings else []
    experiment = Experiment([config], without)
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(precision or experiment.get("settings").precision)
    try:
        model = experiment.build_model()
    finally:
        keras.mixed_precision.set_global_policy(policy)
    if not stored_weights.restore_weights(model, path):
        raise UserError(
            f"The checkpoint {path} is of another model: its multi-modal head is not the one that "
            "config.gin beside it describes. Was config.gin edited after the run?"
        )
    return LoadedRun(model, experiment, path)
