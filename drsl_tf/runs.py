"""Run directories, read back: the model of a run with the weights of one of its checkpoints."""

from __future__ import annotations

import os
from typing import NamedTuple
from typing import Optional

import keras
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf import compat
from drsl_tf import files
from drsl_tf.configuration import Configuration
from drsl_tf.experiments import Experiment
from drsl_tf.training import checkpoint_files

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_ROUND = f"counters/round{_VALUE}"


class LoadedRun(NamedTuple):
    """A trained model and the experiment it comes from.

    Attributes:
        model: a `DrslModel` with the checkpoint's weights.
        experiment: what the run's configuration says.
        checkpoint: path of the checkpoint.
    """

    model: object
    experiment: Experiment
    checkpoint: str


def load_run(run_dir: str, checkpoint: str = "last", precision: Optional[str] = None) -> LoadedRun:
    """Builds the model of a run and gives it the weights of a checkpoint.

    Args:
        run_dir: a directory that `drsl_tf.train` wrote.
        checkpoint: as in `find_checkpoint`.
        precision: Keras's policy to build under; None is the run's own.

    Returns:
        The run.

    Raises:
        UserError: the directory holds no run, no such checkpoint, or one of another model or of
            the other line of Keras.
    """
    config = os.path.abspath(os.path.join(run_dir, "config.gin"))
    if not os.path.isfile(config):
        raise UserError(
            f"{os.path.abspath(run_dir)} is no run directory: it holds no config.gin. Name what "
            "--run_dir of drsl_tf.train named."
        )
    path = find_checkpoint(run_dir, checkpoint)
    _check_line(run_dir)
    # The checkpoint holds the weights; those that training began with may be out of reach here.
    without = ["WEIGHTS = None"] if "WEIGHTS" in Configuration([config]).bindings else []
    experiment = Experiment([config], without)
    keras.mixed_precision.set_global_policy(precision or experiment.get("precision"))
    model = experiment.build_model()
    restore_weights(model, path)
    return LoadedRun(model, experiment, path)


def find_checkpoint(run_dir: str, checkpoint: str) -> str:
    """Finds a checkpoint of a run.

    Args:
        run_dir: the run's directory.
        checkpoint: "last", the newest that can be read, as in training; "best", that of the stage
            of highest mIoU, which is chosen with target labels; or the name of one in
            `run_dir/checkpoints`, such as "ckpt-12".

    Returns:
        Its path, without an ending.

    Raises:
        UserError: there is none; names those that are there.
    """
    if checkpoint == "best":
        return _find_best(run_dir)
    folder = os.path.join(run_dir, "checkpoints")
    found = [os.path.basename(path) for path in checkpoint_files.list_checkpoints(folder)[::-1]]
    if not found:
        raise UserError(
            f"{os.path.abspath(folder)} holds no checkpoint: the run has not come so far yet."
        )
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
            f"{', '.join(found)}. A run keeps its last checkpoints and the best only."
        )
    return os.path.join(folder, checkpoint)


def _find_best(run_dir):
    folder = os.path.join(run_dir, checkpoint_files.BEST)
    found = checkpoint_files.list_checkpoints(folder)
    results = os.path.join(run_dir, "results.json")
    best = files.read_json(results)["best"] if os.path.isfile(results) else None
    if not found or best is None:
        raise UserError(
            f"{os.path.abspath(run_dir)} holds no best checkpoint: no stage of it has been scored, "
            "since its target has no labels or it has not come so far. Use the last one."
        )
    try:
        kept = int(tf.train.load_checkpoint(found[0]).get_tensor(_ROUND))
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(f"The checkpoint {found[0]} cannot be read: {error}") from error
    if kept != best["round"]:
        raise UserError(
            f"The checkpoint {found[0]} is of round {kept}, but the best in {results} is round "
            f"{best['round']}: the run went back to an earlier checkpoint, or is still in that "
            "round. Let it finish, or use the last one."
        )
    return found[0]


def restore_weights(model, checkpoint: str) -> None:
    """Gives a model the variables of a checkpoint, and nothing else of it.

    Args:
        model: a model with every variable created.
        checkpoint: path of a checkpoint that a run wrote.

    Raises:
        UserError: the checkpoint cannot be read or is of another model.
    """
    try:
        shapes = checkpoint_files.read_shapes(checkpoint)
    except ValueError as error:
        raise UserError(f"The checkpoint {checkpoint} cannot be read: {error}") from error
    stored = {name: shape for name, shape in shapes.items() if name.startswith("model/")}
    variables = [compat.as_tf_variable(variable) for variable in model.variables]
    expected = {
        f"model/{index:04d}{_VALUE}": variable.shape.as_list()
        for index, variable in enumerate(variables)
    }
    if stored != expected:
        raise UserError(
            f"The checkpoint {checkpoint} holds {len(stored)} variables of another model than the "
            f"{len(expected)} that config.gin beside it describes. Was config.gin edited after "
            "the run?"
        )
    reader = tf.train.load_checkpoint(checkpoint)
    for name, variable in zip(expected, variables):
        variable.assign(reader.get_tensor(name))


def _check_line(run_dir):
    """Refuses a run of the other line of Keras, whose variables come in another order."""
    path = os.path.join(run_dir, "results.json")
    if not os.path.isfile(path):
        return
    versions = files.read_json(path).get("versions")
    trained = str(versions.get("keras", "")) if isinstance(versions, dict) else ""
    if trained and trained.split(".")[0] != keras.__version__.split(".")[0]:
        raise UserError(
            f"The run {run_dir} was trained with Keras {trained}, and this is Keras "
            f"{keras.__version__}: checkpoints do not cross from one to the other. Export the run "
            "with the Keras that trained it; a SavedModel loads with both."
        )
