"""The class subsets over which the literature averages IoU on Cityscapes.

The 16 classes omit terrain, truck and train; the 13 also wall, fence and pole. Two conventions
of "16" differ and must not be compared: a head of 16 outputs, and a head of 19 outputs whose IoU is
averaged over the 16, where confusion with the other three still counts. Each entry names its
convention.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_pipelines.labels import label_spaces
from drsl_tf import files
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.evaluation.confusion import to_percent
from drsl_tf.files import Number

PROTOCOLS = {
    "19": label_spaces.cityscapes19().class_names,
    "16": label_spaces.synthia16().class_names,
    "13": label_spaces.cityscapes13().class_names,
}


class ProtocolScores(files.Entry):
    """Scores over a subset of the classes.

    Attributes:
        convention: for example "16-way head" or "19-way head averaged over 16".
        miou: mean IoU in percent over the classes that have one, None where none has.
        num_classes: number of those classes.
        iou: IoU in percent by class name, None for a class neither present nor predicted.
    """

    convention: str
    miou: Number | None
    num_classes: int
    iou: dict[str, Number | None]


def score_protocols(
    confusion: ConfusionMatrix, class_names: Sequence[str]
) -> dict[str, ProtocolScores]:
    """Scores a confusion matrix by every protocol that its classes allow.

    Args:
        confusion: the matrix of a whole split, over C classes.
        class_names: the C names of its classes, in the order of their ids.

    Returns:
        The scores for each of "19", "16" and "13" whose classes are all among `class_names`; empty
        where the classes fit no protocol.

    Raises:
        ValueError: the number of names is not that of the matrix.
    """
    if len(class_names) != confusion.num_classes:
        raise ValueError(
            f"{len(class_names)} class names do not fit a confusion matrix of "
            f"{confusion.num_classes} classes."
        )
    iou = dict(zip(class_names, map(to_percent, confusion.iou())))
    scores = {}
    for name, subset in PROTOCOLS.items():
        if not set(subset) <= set(class_names):
            continue
        values = {label: iou[label] for label in subset}
        known = [value for value in values.values() if value is not None]
        scores[name] = ProtocolScores(
            convention=_name_convention(len(class_names), len(subset)),
            miou=float(np.mean(known)) if known else None,
            num_classes=len(known),
            iou=values,
        )
    return scores


def _name_convention(head_size: int, subset_size: int) -> str:
    if head_size == subset_size:
        return f"{head_size}-way head"
    return f"{head_size}-way head averaged over {subset_size}"
