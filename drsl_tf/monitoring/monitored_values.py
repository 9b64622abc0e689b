"""Check of Keras callbacks that monitor a value, such as `EarlyStopping`."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence

import keras
import numpy as np

from data_pipelines.errors import UserError

_SCORES = ("miou", "iou/")
_LABELS = "pseudo_label/"


def check_monitors(
    callbacks: Iterable[keras.callbacks.Callback], loss_names: Sequence[str], is_scored: bool
) -> None:
    """Checks that callbacks monitor a value that stages report, in the direction that is better.

    Keras only warns where a value is missing, after each stage, and then never stops.

    Args:
        callbacks: any; those without an attribute `monitor` pass.
        loss_names: the loss and its terms.
        is_scored: whether stages are scored on labelled target images.

    Raises:
        UserError: a callback would have no effect, or stop at an improvement.
    """
    for callback in callbacks:
        name = type(callback).__name__
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str):
            continue
        is_score = monitor.startswith(_SCORES)
        if not (is_score and is_scored or monitor in loss_names or monitor.startswith(_LABELS)):
            scores = "miou, iou/CLASS, " if is_scored else ""
            why = "" if is_scored or not is_score else " without labels in the evaluation split"
            raise UserError(
                f"{name}.monitor is {monitor!r}, which no stage reports{why}. Bind it to one of "
                f"{', '.join(loss_names)}, {scores}{_LABELS}fraction."
            )
        rises = getattr(callback, "mode", None) == "max"
        rises = rises or getattr(callback, "monitor_op", None) is np.greater
        if is_score and not rises:
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
