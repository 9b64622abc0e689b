"""Counts of pixels in each image, from which the IoU of any set of images follows."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from drsl_tf.evaluation.confusion import ConfusionMatrix

if TYPE_CHECKING:
    from data_pipelines.domains.domain import Domain
    from data_pipelines.domains.domain import Pair
    from drsl_tf.evaluation.evaluator import Evaluator

ImageCounts = dict[str, dict[str, list[int]]]


def count_images(evaluator: Evaluator, domain: Domain, pairs: Sequence[Pair]) -> ImageCounts:
    """Predicts images and counts the pixels of each class in each.

    Args:
        evaluator: predicts them.
        domain: reads the files.
        pairs: images with labels.

    Returns:
        Name of the image -> class id as text -> [hits, pixels of the class in the label, pixels
        predicted as the class where the label is a class]; without classes that have neither.
    """
    num_classes = domain.label_space.num_classes
    found: ImageCounts = {}

    def count(pair, prediction):
        confusion = ConfusionMatrix(num_classes)
        confusion.update(domain.read_label(pair.label_path), prediction)
        matrix = confusion.matrix
        hits = np.diagonal(matrix)
        columns = np.stack([hits, matrix.sum(axis=1), matrix[:, :-1].sum(axis=0)], axis=1)
        found[pair.name] = {
            str(index): counts.tolist() for index, counts in enumerate(columns) if counts.any()
        }

    evaluator.evaluate(domain, pairs, on_prediction=count)
    return found


def to_array(counts: Mapping[str, Mapping[str, Sequence[int]]], num_classes: int) -> np.ndarray:
    """Returns counts as an array.

    Args:
        counts: as `count_images` returns them.
        num_classes: C.

    Returns:
        (images, C, 3) int64 in the order of the images' names.
    """
    array = np.zeros((len(counts), num_classes, 3), np.int64)
    for row, name in enumerate(sorted(counts)):
        for index, values in counts[name].items():
            array[row, int(index)] = values
    return array


def compute_iou(counts: np.ndarray) -> np.ndarray:
    """Computes the IoU of each class.

    Args:
        counts: (..., C, 3) sums over images of hits, label's pixels and predicted pixels.

    Returns:
        (..., C) float64 fractions; NaN for a class neither present nor predicted.
    """
    hits, labelled, predicted = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    with np.errstate(invalid="ignore"):
        return hits / (labelled + predicted - hits)


def compute_miou(counts: np.ndarray) -> np.ndarray:
    """Computes the mean IoU, over the classes that are present or predicted.

    Args:
        counts: as for `compute_iou`.

    Returns:
        (...) float64 fractions; NaN where no class has an IoU.
    """
    iou = compute_iou(counts)
    present = ~np.isnan(iou)
    with np.errstate(invalid="ignore"):
        return np.where(present, iou, 0.0).sum(axis=-1) / present.sum(axis=-1)


def read_counts(records: Sequence[dict[str, Any]]) -> np.ndarray | None:
    """Reads the pixel counts of the validation images.

    Args:
        records: of one method, a record for each seed.

    Returns:
        (seeds, images, C, 3) int64, see `to_array`; None where records lack an image.
    """
    names = {tuple(sorted(record.get("images", ()))) for record in records}
    if len(names) != 1 or names == {()}:
        return None
    return np.stack([to_array(r["images"], len(r["iou"])) for r in records])


def read_pair(
    records: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads the pixel counts of two methods.

    Args:
        records: of one method, a record for each seed.
        others: of the other method.

    Returns:
        As `read_counts`, of both; None where one has none, or where their images differ.
    """
    counts = read_counts(records), read_counts(others)
    if any(values is None for values in counts):
        return None
    return counts if records[0]["images"].keys() == others[0]["images"].keys() else None
