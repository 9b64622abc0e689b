"""The weights of a run, read from one of its checkpoints."""

from __future__ import annotations

import os

import keras
import tensorflow as tf
from absl import logging

from data_pipelines.errors import UserError
from drsl_tf import compat
from drsl_tf.models.model import DrslModel
from drsl_tf.runs import checkpoint_files
from drsl_tf.runs import results_schema
from drsl_tf.runs.run_directory import RunDirectory

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_ROUND = f"counters/round{_VALUE}"


def start_from(model: DrslModel, run_dir: str) -> None:
    """Initialises an untrained model from the last weights of a run, and logs it.

    Args:
        model: as in `restore_weights`.
        run_dir: the run's directory.

    Raises:
        UserError: the directory holds no such weights.
    """
    checkpoint = find_checkpoint(run_dir)
    whole = restore_weights(model, checkpoint)
    afresh = model.multimodal_head is not None and not whole
    note = "; the multi-modal head keeps its initial weights" if afresh else ""
    logging.info("Starting from the weights of %s%s.", checkpoint, note)


def find_checkpoint(run_dir: str, checkpoint: str = "last") -> str:
    """Finds a checkpoint of a run.

    Args:
        run_dir: the run's directory.
        checkpoint: "last", the newest that can be read, as in training; "source", that of the
            source stage; "best", that of the stage of highest mIoU, which is chosen with target
            labels; or the name of one in `run_dir/checkpoints`, such as "ckpt-12".

    Returns:
        Its path, without a suffix.

    Raises:
        UserError: there is none, and the message names those there are; or the run is of the other
            line of Keras.
    """
    if checkpoint in ("best", "source"):
        _check_line(run_dir)
        return _find_best(run_dir) if checkpoint == "best" else _find_source(run_dir)
    folder = RunDirectory(run_dir).checkpoints
    found = [os.path.basename(path) for path in checkpoint_files.list_checkpoints(folder)[::-1]]
    if not found:
        raise UserError(
            f"{os.path.abspath(folder)} holds no checkpoint: it is not in a run's directory, or "
            "the run has not come so far yet."
        )
    _check_line(run_dir)
    if checkpoint == "last":
        path = checkpoint_files.find_newest(folder).path
        if path is None:
            raise UserError(
                f"None of the checkpoints in {os.path.abspath(folder)} can be read. Put a copy of "
                "them back."
            )
        return path
    if checkpoint not in found:
        raise UserError(
            f"{os.path.abspath(folder)} holds no checkpoint {checkpoint!r}; it holds "
            f"{', '.join(found)}. A run keeps its last checkpoints, the source "
            "stage's and the best only."
        )
    return os.path.join(folder, checkpoint)


def _find_best(run_dir):
    found = checkpoint_files.list_checkpoints(RunDirectory(run_dir).best_checkpoint)
    results = RunDirectory(run_dir).results
    best = None
    if os.path.isfile(results):
        best = results_schema.find_best_round(results_schema.read_results(results).stages)
    if not found or best is None:
        raise UserError(
            f"{os.path.abspath(run_dir)} holds no best checkpoint: no stage of it has been scored, "
            "since its target has no labels or it has not come so far. Use the last one."
        )
    kept = _read_round(found[0])
    if kept != best:
        raise UserError(
            f"The checkpoint {found[0]} is of round {kept}, but the best in {results} is round "
            f"{best}: the run went back to an earlier checkpoint, or is still in that "
            "round. Let it finish, or use the last one."
        )
    return found[0]


def _find_source(run_dir):
    folder = RunDirectory(run_dir).source_checkpoint
    found = checkpoint_files.list_checkpoints(folder)
    if not found:
        raise UserError(
            f"{os.path.abspath(folder)} holds no checkpoint of the source stage: it is not "
            "finished yet, or the run is of an earlier version, which kept none."
        )
    kept = _read_round(found[0])
    if kept:
        raise UserError(
            f"The checkpoint {found[0]} is of round {kept}, not of the source stage. Put a copy of "
            "it back."
        )
    return found[0]


def _read_round(path):
    """Reads the round that a checkpoint was saved in."""
    try:
        if checkpoint_files.read_shapes(path).get(_ROUND) != []:
            raise ValueError("it does not say which round it is of")
        return int(tf.train.load_checkpoint(path).get_tensor(_ROUND))
    except ValueError as error:
        raise UserError(f"The checkpoint {path} cannot be read: {error}") from error


def restore_weights(model: DrslModel, checkpoint: str) -> bool:
    """Restores the weights of a checkpoint.

    Args:
        model: a model with every variable created.
        checkpoint: path of a checkpoint that a run wrote, whose base and segmentation head are
            those of the model.

    Returns:
        True if the multi-modal heads match too, or both models have none; otherwise False, and
        the model's head keeps its own weights.

    Raises:
        UserError: the checkpoint cannot be read or is of another model.
    """
    try:
        stored = _list_shapes(checkpoint_files.read_shapes(checkpoint))
    except ValueError as error:
        raise UserError(f"The checkpoint {checkpoint} cannot be read: {error}") from error
    # Keras 2 lists metrics last among a model's variables; their number depends on the loss terms,
    # not on the weights.
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    variables = [
        compat.as_tf_variable(variable)
        for variable in model.variables
        if id(variable) not in metrics
    ]
    shapes = [variable.shape.as_list() for variable in variables]
    shared = len(model.base.variables) + len(model.segmentation_head.variables)
    if stored[:shared] != shapes[:shared]:
        raise UserError(
            f"The checkpoint {checkpoint} is of another model: its base or its segmentation head "
            "differs. Bind the networks and the classes of the config.gin that the run was trained "
            "with."
        )
    is_whole = [shape for shape in stored[shared:] if shape] == shapes[shared:]
    reader = tf.train.load_checkpoint(checkpoint)
    for index, variable in enumerate(variables if is_whole else variables[:shared]):
        variable.assign(reader.get_tensor(_name(index)))
    model.adopt_weights()
    return is_whole


def _name(index):
    return f"model/{index:04d}{_VALUE}"


def _list_shapes(shapes):
    """Lists the shapes of a stored model's variables, in its order."""
    count = sum(name.startswith("model/") for name in shapes)
    return [shapes.get(_name(index)) for index in range(count)]


def _check_line(run_dir):
    """Rejects a run of the other line of Keras, whose variables are in another order."""
    path = RunDirectory(run_dir).results
    if not os.path.isfile(path):
        return
    trained = results_schema.read_results(path).versions.get("keras", keras.__version__)
    if trained.split(".")[0] != keras.__version__.split(".")[0]:
        raise UserError(
            f"The run {run_dir} was trained with Keras {trained}, and this is Keras "
            f"{keras.__version__}: neither reads the other's checkpoints. Export the run "
            "with the Keras that trained it; a SavedModel loads with both."
        )
