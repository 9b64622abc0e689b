"""The record of a model's scores on unlabelled images."""

from __future__ import annotations

from typing import Annotated

import pydantic

from drsl_tf import files
from drsl_tf.files import Number

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
