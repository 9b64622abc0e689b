"""Confusion matrices as CSV files: rows are labels, columns predictions, in pixels."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from drsl_tf import files
from drsl_tf.evaluation.confusion import ConfusionMatrix

_CORNER = "label \\ prediction"

NO_CLASS = "no class"
"""Header of the column of predictions that are no class."""


def write_confusion(path: str, confusion: ConfusionMatrix, class_names: Sequence[str]) -> None:
    """Writes a confusion matrix atomically.

    Args:
        path: the file; its folder is created if absent.
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
    """Reads a file of `write_confusion`.

    Args:
        path: the file.

    Returns:
        The class names, and the (C, C + 1) int64 counts of pixels: rows are labels, columns
        predictions, the last column predictions that are no class.

    Raises:
        ValueError: the file is not such a matrix.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        names = [row[0] for row in rows]
        counts = np.array([row[1:] for row in rows], np.int64)
    except (OSError, ValueError, IndexError, OverflowError, csv.Error) as error:
        raise ValueError(f"{path} is not a confusion matrix: {error}.") from error
    if header != [_CORNER, *names, NO_CLASS] or counts.shape != (len(names), len(names) + 1):
        raise ValueError(f"{path} is not a confusion matrix: its columns differ from its rows.")
    if counts.min(initial=0) < 0:
        raise ValueError(f"{path} is not a confusion matrix: it holds a negative count.")
    return names, counts
