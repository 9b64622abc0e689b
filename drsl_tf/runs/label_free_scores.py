"""A model's scores on unlabelled images: their record, and the one that chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pydantic

from drsl_tf import files
from drsl_tf.files import Number

# A class on fewer pixels than this share of all is noise.
_LEAST_SHARE = 1e-4
_Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class LabelFreeScores(files.Entry):
    """Scores of a model that need no labels, over images of the target.

    Dicts are by class name, None for a class that is not predicted.

    Attributes:
        images: number of images.
        pixels: pixels predicted as the class.
        agreement: by view of the images, such as "mirrored", IoU of the classes predicted on the
            view with those predicted on the image.
        entropies: mean entropy in nats of the pixels predicted as the class.
        entropy: mean entropy of all pixels, in nats.
        marginal_entropy: entropy in nats of the mean prediction of all pixels.
        density: mean entropy in nats of the similarities of an image's pixels, see
            `label_free.LabelFreeScorer`.
    """

    images: int
    pixels: dict[str, int]
    agreement: dict[str, dict[str, _Share | None]]
    entropies: dict[str, Number | None]
    entropy: Number
    marginal_entropy: Number
    density: Number


def compute_agreement(scores: LabelFreeScores, views: Sequence[str] | None = None) -> float:
    """Averages the agreement over the views and all classes.

    A class that the model does not predict counts 0, and so does one on fewer than 1 of 10,000
    pixels: a model that loses classes loses agreement, though its other classes become steadier.
    Between two models of the same classes the order therefore does not depend on further ones.

    Args:
        scores: of a model.
        views: names of the views; None is all.

    Returns:
        A fraction.
    """
    least = _LEAST_SHARE * sum(scores.pixels.values())
    ious = [
        iou[name] or 0.0 if count >= least else 0.0
        for iou in (scores.agreement[view] for view in views or scores.agreement)
        for name, count in scores.pixels.items()
    ]
    return sum(ious) / len(ious)
