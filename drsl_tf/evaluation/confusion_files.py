"""Confusion matrices as CSV files: a row a label, a column a prediction, in pixels."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from drsl_tf import files
from drsl_tf.evaluation.confusion import ConfusionMatrix

_CORNER = "label \\ prediction"

NO_CLASS = "no class"
"""Heads the column of predictions that are no class."""


def write_confusion(path: str, confusion: ConfusionMatrix, class_names: Sequence[str]) -> None:
    """Writes a confusion matrix, whole or not at all.

    Args:
        path: the file; its folder is made where it is missing.
        confusion: the counts.
        class_names: names of the classes, in the order of their ids.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_CORNER, *class_names, NO_CLASS])
    for name, counts in zip(class_names, confusion.matrix.tolist()):
        writer.writerow([name, *counts])
    files.write_text(path, text.getvalue())


def read_confusion(path: str) -> tuple[list[str], np.ndarray]:
    """Reads what `write_confusion` wrote.

    Args:
        path: the file.

    Returns:
        The class names, and the (C, C + 1) int64 counts of pixels: rows are labels, columns
        predictions, the last column predictions that are no class.

    Raises:
        ValueError: the file is no such matrix.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        names = [row[0] for row in rows]
        counts = np.array([row[1:] for row in rows], np.int64)
    except (OSError, ValueError, IndexError, OverflowError, csv.Error) as error:
        raise ValueError(f"{path} is no confusion matrix: {error}.") from error
    if header != [_CORNER, *names, NO_CLASS] or counts.shape != (len(names), len(names) + 1):
        raise ValueError(f"{path} is no confusion matrix: its columns are not its rows.")
    if counts.min(initial=0) < 0:
        raise ValueError(f"{path} is no confusion matrix: it holds a count below 0.")
    return names, counts
