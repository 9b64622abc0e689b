"""Check of Keras callbacks that monitor a value, such as `EarlyStopping`."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence

import keras
import numpy as np

from data_pipelines.errors import UserError

_OF_ALL_LABELS = ("portion", "fraction", "accuracy")
_OF_A_CLASS = ("fractions", "accuracies", "pixels", "thresholds")


def check_monitors(
    callbacks: Iterable[keras.callbacks.Callback],
    loss_names: Sequence[str],
    *,
    scored_classes: Sequence[str] | None,
    labelled_classes: Sequence[str] | None,
) -> None:
    """Checks that callbacks monitor a value that stages report, in the direction that is better.

    Keras only warns where a value is missing, after each stage, and then never stops.

    Args:
        callbacks: any; those pass that have no attribute `monitor`, or do not use it, as a
            `ModelCheckpoint` that saves every stage.
        loss_names: the loss and its terms.
        scored_classes: names of the classes that stages are scored by; None where the target has
            no labels to score.
        labelled_classes: names of the classes of the pseudo-labels; None where no round stores any.

    Raises:
        UserError: a callback would have no effect, or stop at an improvement.
    """
    scores = () if scored_classes is None else ("miou", *(f"iou/{n}" for n in scored_classes))
    shares: list[str] = []
    if labelled_classes is not None:
        fields = [*_OF_ALL_LABELS, *(f"{f}/{n}" for f in _OF_A_CLASS for n in labelled_classes)]
        shares = [f"pseudo_label/{field}" for field in fields]
    for callback in callbacks:
        name = type(callback).__name__
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str) or not getattr(callback, "save_best_only", True):
            continue
        if monitor not in (*loss_names, *scores, *shares):
            is_unscored = scored_classes is None and monitor.startswith(("miou", "iou/"))
            why = " without labels in the evaluation split" if is_unscored else ""
            known = ", ".join([*loss_names, *scores, *shares[: len(_OF_ALL_LABELS)]])
            raise UserError(
                f"{name}.monitor is {monitor!r}, which cannot be monitored{why}. Bind it to one of "
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
