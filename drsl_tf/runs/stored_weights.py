"""The weights of a run, read from one of its checkpoints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf
from absl import logging

from data_pipelines.errors import UserError
from drsl_tf import compat
from drsl_tf.models.model import DrslModel
from drsl_tf.runs import checkpoint_files
from drsl_tf.runs import data_record
from drsl_tf.runs import results_schema
from drsl_tf.runs import selection
from drsl_tf.runs.run_directory import RunDirectory


def start_from(
    model: DrslModel, run_dir: str, class_names: Sequence[str], *, trains_head: bool = True
) -> None:
    """Initialises an untrained model from the last weights of a run, and logs what it takes.

    A segmentation head for other classes, or of another kind, keeps its initial weights, and so
    does a multi-modal head that differs.

    Args:
        model: a model with every variable created.
        run_dir: the run's directory.
        class_names: the model's classes.
        trains_head: whether steps on the source follow, which a new segmentation head needs.

    Raises:
        UserError: the directory holds no weights of this base network, or the segmentation heads
            or the modes that correct labels differ and no step on the source follows.
    """
    checkpoint = find_checkpoint(run_dir)
    trained = _read_class_names(run_dir)
    why = "it differs"
    matching = _match(model, checkpoint)
    if trained is not None and trained != list(class_names):
        why = f"it was trained on other classes ({', '.join(trained)})"
        matching = matching._replace(segmentation_head=False, multimodal_head=False)
    if not matching.base:
        raise _make_mismatch(checkpoint, "its base network differs")
    if not matching.segmentation_head and not trains_head:
        raise UserError(
            f"The segmentation head of {run_dir} cannot be taken: {why}. Without a step on the "
            "source the new head remains untrained. Set source_steps above 0, or bind the head and "
            "the classes of that run's config.gin."
        )
    if model.needs_trained_modes and not matching.multimodal_head and not trains_head:
        raise UserError(
            f"The multi-modal head of {run_dir} cannot be taken: it differs. Its modes would "
            "correct labels, and without a step on the source they remain untrained. Set "
            "source_steps above 0, bind the head of that run's config.gin, or mode_label_weight = "
            "0.0."
        )
    _assign(model, checkpoint, matching)
    notes = []
    if not matching.segmentation_head:
        notes.append(f"; the segmentation head keeps its initial weights, as {why}")
    if model.multimodal_head is not None and not matching.multimodal_head:
        notes.append("; the multi-modal head keeps its initial weights")
    logging.info("Starting from the weights of %s%s.", checkpoint, "".join(notes))


def _read_class_names(run_dir):
    """Returns the names of a run's classes; None if it neither recorded them nor has a score."""
    names = data_record.read_class_names(run_dir)
    path = RunDirectory(run_dir).results
    if names is None and os.path.isfile(path):
        stages = results_schema.read_results(path).stages
        names = next((list(stage.iou) for stage in stages if stage.iou is not None), None)
    return names


def find_checkpoint(run_dir: str, checkpoint: str = "last") -> str:
    """Finds a checkpoint of a run.

    Args:
        run_dir: the run's directory.
        checkpoint: "last", the newest that can be read, as in training; "source", that of the
            source stage; "best", that of the stage of highest mIoU, which is chosen with target
            labels; "selected", that selected without them; or the name of one in
            `run_dir/checkpoints`, such as "ckpt-12".

    Returns:
        Its path, without a suffix.

    Raises:
        UserError: there is none, and the message names those there are; or the run is of the other
            line of Keras.
    """
    finders = {"best": _find_best, "source": _find_source, "selected": _find_selected}
    if checkpoint in finders:
        _check_line(run_dir)
        return finders[checkpoint](run_dir)
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
            "stage's, the best and the selected one only."
        )
    return os.path.join(folder, checkpoint)


def _find_best(run_dir):
    found = checkpoint_files.list_checkpoints(RunDirectory(run_dir).best_checkpoint)
    best = results_schema.find_best_round(_read_stages(run_dir))
    if not found or best is None:
        raise UserError(
            f"{os.path.abspath(run_dir)} holds no best checkpoint: no stage of it has been scored, "
            "since its target has no labels or it has not come so far. Use the last one."
        )
    return _check_place(run_dir, found[0], {"round": best}, "best")


def _find_selected(run_dir):
    found = checkpoint_files.list_checkpoints(RunDirectory(run_dir).selected_checkpoint)
    stages = _read_stages(run_dir)
    selected = selection.select(stages)
    if not found or selected is None:
        raise UserError(
            f"{os.path.abspath(run_dir)} holds no selected checkpoint: its source stage is not "
            "finished yet, or it selects none, which only a run with SelfTraining.selection = "
            '"label_free" does. Use the last one.'
        )
    if not selected.round and not selected.target_statistics:
        return _find_source(run_dir)
    if selected.target_statistics:
        # They are computed at the start of the first round.
        place = {"round": 1, "step": 0}
    else:
        (steps,) = [stage.steps for stage in stages if stage.round == selected.round]
        place = {"round": selected.round, "step": steps}
    return _check_place(run_dir, found[0], place, "selected one")


def _read_stages(run_dir):
    results = RunDirectory(run_dir).results
    return results_schema.read_results(results).stages if os.path.isfile(results) else []


def _check_place(run_dir, path, expected, what):
    kept = _read_counters(path, expected)
    if kept != expected:
        found, wanted = (
            ", ".join(f"{name} {value}" for name, value in place.items())
            for place in (kept, expected)
        )
        raise UserError(
            f"The checkpoint {path} is of {found}, but the {what} in "
            f"{RunDirectory(run_dir).results} is of {wanted}: the run went back to an earlier "
            "checkpoint, or is still in that round. Let it finish, or use the last one."
        )
    return path


def _find_source(run_dir):
    folder = RunDirectory(run_dir).source_checkpoint
    found = checkpoint_files.list_checkpoints(folder)
    if not found:
        raise UserError(
            f"{os.path.abspath(folder)} holds no checkpoint of the source stage: it is not "
            "finished yet, or the run is of an earlier version, which kept none."
        )
    kept = _read_counters(found[0], ["round"])["round"]
    if kept:
        raise UserError(
            f"The checkpoint {found[0]} is of round {kept}, not of the source stage. Put a copy of "
            "it back."
        )
    return found[0]


def _read_counters(path, names):
    """Reads by name the round or the step that a checkpoint was saved in."""
    try:
        shapes = checkpoint_files.read_shapes(path)
        for name in names:
            if shapes.get(f"counters/{name}") != []:
                raise ValueError(f"it does not say which {name} it is of")
        read = checkpoint_files.open_checkpoint(path)
        return {name: int(read(f"counters/{name}")) for name in names}
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
    matching = _match(model, checkpoint)
    if not matching.segmentation_head:
        raise _make_mismatch(checkpoint, "its base or its segmentation head differs")
    _assign(model, checkpoint, matching)
    return matching.multimodal_head


def restore_variables(model: DrslModel, checkpoint: str, variables: Sequence[tf.Variable]) -> None:
    """Restores some of a model's variables, such as its batch statistics.

    Args:
        model: a model with every variable created.
        checkpoint: path of a checkpoint of the same model.
        variables: some of the model's.
    """
    chosen = {id(variable) for variable in variables}
    read = checkpoint_files.open_checkpoint(checkpoint)
    for index, variable in enumerate(_list_variables(model)):
        if id(variable) in chosen:
            variable.assign(read(_name(index)))


class _Matching(NamedTuple):
    """The parts of a model that a checkpoint fits; each implies those before it."""

    base: bool
    segmentation_head: bool
    multimodal_head: bool


def _match(model, checkpoint):
    try:
        stored = _list_shapes(checkpoint_files.read_shapes(checkpoint))
    except ValueError as error:
        raise UserError(f"The checkpoint {checkpoint} cannot be read: {error}") from error
    shapes = [variable.shape.as_list() for variable in _list_variables(model)]
    base = len(model.base.variables)
    shared = base + len(model.segmentation_head.variables)
    is_shared = stored[:shared] == shapes[:shared]
    is_whole = [shape for shape in stored[shared:] if shape] == shapes[shared:]
    return _Matching(stored[:base] == shapes[:base], is_shared, is_shared and is_whole)


def _assign(model, checkpoint, matching):
    variables = _list_variables(model)
    if not matching.multimodal_head:
        count = len(model.base.variables)
        if matching.segmentation_head:
            count += len(model.segmentation_head.variables)
        variables = variables[:count]
    read = checkpoint_files.open_checkpoint(checkpoint)
    for index, variable in enumerate(variables):
        variable.assign(read(_name(index)))
    model.adopt_weights()


def _list_variables(model):
    # Keras 2 lists metrics last among a model's variables; their number depends on the loss terms,
    # not on the weights.
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    return [
        compat.as_tf_variable(variable)
        for variable in model.variables
        if id(variable) not in metrics
    ]


def _make_mismatch(checkpoint, what):
    return UserError(
        f"The checkpoint {checkpoint} is of another model: {what}. Bind the networks and the "
        "classes of the config.gin that the run was trained with."
    )


def _name(index):
    return f"model/{checkpoint_files.number_name(index)}"


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
            f"{keras.__version__}: neither reads the other's checkpoints. Use the "
            "environment that trained it; a SavedModel that drsl_tf.export writes there loads "
            "with both."
        )
