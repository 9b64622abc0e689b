"""Warnings about a round's pseudo-labels, or a mean teacher's."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from data_pipelines.batches import whole_images as image_batches
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from drsl_tf.distribution.replicated import ReplicatedFunction
from drsl_tf.runs.label_report import LabelReport
from drsl_tf.self_training.online_model import OnlineDrslModel

# A round below this share of the previous one counts as collapsed: this project's choice.
_COLLAPSE = 0.5
# Images that a teacher labels for its warning, and the least confident share without one: this
# project's choice.
_IMAGES, _LEAST = 8, 0.05


def list_warnings(report: LabelReport, previous: LabelReport | None = None) -> list[str]:
    """Compares the report of a round with that of the previous round.

    Args:
        report: as `PseudoLabeler.generate` returns it.
        previous: of the previous round; None for the first round, whose fraction is compared with
            the requested portion.

    Returns:
        One sentence for a labelled fraction of less than half of that, and one for all classes
        that the previous round labelled and this one does not.
    """
    found = []
    name = f"The pseudo-labels of round {report.round}"
    if previous is None:
        expected, source = report.portion, "asked for"
    else:
        expected, source = previous.fraction, "of the round before"
    if report.fraction < _COLLAPSE * expected:
        found.append(
            f"{name} cover {report.fraction:.1%} of the pixels, less than half of the "
            f"{expected:.1%} {source}."
        )
    before = {} if previous is None else previous.pixels
    gone = [key for key, pixels in report.pixels.items() if not pixels and before.get(key)]
    if gone:
        found.append(
            f"{name} hold no pixel of {', '.join(gone)}, which those of the round before did."
        )
    return found


def list_teacher_warnings(
    model: OnlineDrslModel,
    strategy: tf.distribute.Strategy,
    domain: Domain,
    pairs: Sequence[Pair],
    *,
    round_index: int,
    size: tuple[int, int] | None = None,
) -> list[str]:
    """Lists a warning if a mean teacher is confident of few pixels of the target.

    Its labels of an image are weighted by the confident share of the image's pixels.

    Args:
        model: labels its target images itself.
        strategy: distribution strategy of the model.
        domain: the target.
        pairs: its training images; a few, evenly spaced, are read.
        round_index: 1 for the first round.
        size: (height, width) of the network's input; None keeps each image's.

    Returns:
        One sentence if the share is next to nothing, else none.
    """
    label = ReplicatedFunction(lambda images: (model.label_images(images)[1],), strategy)
    shown = image_batches.spread_evenly(pairs, _IMAGES)
    confident = total = 0
    for batch in image_batches.iterate_image_batches(
        shown, domain.read_image, size=size, batch_size=1
    ):
        (found,) = label(batch.images)
        confident += int(found.sum())
        total += found.size
    if confident >= _LEAST * total:
        return []
    return [
        f"After round {round_index} the teacher is confident of {confident / total:.1%} of the "
        f"pixels of {len(shown)} target image(s), so its labels have next to no weight. Train "
        "longer on the source (SOURCE_STEPS), or lower OnlineDrslModel.threshold."
    ]
