"""Check of Keras callbacks that monitor a value, such as `EarlyStopping`."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence

import keras
import numpy as np

from data_pipelines.errors import UserError
from drsl_tf.runs.label_report import LabelReport

_LABELS = "pseudo_label"


def check_monitors(
    callbacks: Iterable[keras.callbacks.Callback],
    loss_names: Sequence[str],
    scored_classes: Sequence[str] | None,
) -> None:
    """Checks that callbacks monitor a value that stages report, in the direction that is better.

    Keras only warns where a value is missing, after each stage, and then never stops.

    Args:
        callbacks: any; those pass that have no attribute `monitor`, or do not use it, as a
            `ModelCheckpoint` that saves every stage.
        loss_names: the loss and its terms.
        scored_classes: names of the classes that stages are scored by; None where the target has
            no labels to score.

    Raises:
        UserError: a callback would have no effect, or stop at an improvement.
    """
    scores = () if scored_classes is None else ("miou", *(f"iou/{n}" for n in scored_classes))
    for callback in callbacks:
        name = type(callback).__name__
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str) or not getattr(callback, "save_best_only", True):
            continue
        if monitor not in (*loss_names, *scores) and not _is_of_labels(monitor):
            is_unscored = scored_classes is None and monitor.startswith(("miou", "iou/"))
            why = " without labels in the evaluation split" if is_unscored else ""
            known = ", ".join([*loss_names, *scores, f"{_LABELS}/fraction"])
            raise UserError(
                f"{name}.monitor is {monitor!r}, which no stage reports{why}. Bind it to one of "
                f"{known}."
            )
        rises = getattr(callback, "mode", None) == "max"
        rises = rises or getattr(callback, "monitor_op", None) is np.greater
        if monitor in scores and not rises:
            raise UserError(
                f"{name} monitors {monitor!r}, which is better the higher it is: bind {name}.mode "
                'to "max".'
            )
        if getattr(callback, "restore_best_weights", False):
            raise UserError(
                f"{name}.restore_best_weights has no effect on the files of a run, which keeps its "
                "best model in best_by_target_labels/. Remove it; for that model use "
                "--checkpoint=best."
            )


def _is_of_labels(monitor):
    """Returns whether a value is one of the report of pseudo-labels, `pseudo_label/FIELD...`."""
    start, *path = monitor.split("/")
    return start == _LABELS and bool(path) and path[0] in LabelReport.model_fields
