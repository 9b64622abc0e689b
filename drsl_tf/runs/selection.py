"""Which model of a run to keep, by scores on unlabelled target images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drsl_tf.runs.export_command import format_export
from drsl_tf.runs.results_schema import Candidate
from drsl_tf.runs.results_schema import LabelFreeScores
from drsl_tf.runs.results_schema import Selected
from drsl_tf.runs.results_schema import Stage

# A class on fewer pixels than this share of all is noise.
_LEAST_SHARE = 1e-4


def compute_agreement(scores: LabelFreeScores, views: Sequence[str] | None = None) -> float:
    """Averages the agreement over the views and all classes.

    A class that the model does not predict counts 0, and so does one on fewer than 1 of 10,000
    pixels: a model that loses classes loses agreement, though its other classes become steadier.

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


def compute_score(scores: LabelFreeScores) -> float:
    """Computes the score by which a model is selected: agreement times certainty.

    Certainty is 1 - H / log C, with the mean entropy H and C classes. It depends on one model
    alone, so a later candidate does not change the order of those before it. This project's choice
    (`docs/results.md`).

    Args:
        scores: of a model.

    Returns:
        A fraction; more is better.
    """
    classes = len(scores.pixels)
    certainty = 1.0 - scores.entropy / math.log(classes) if classes > 1 else 1.0
    return compute_agreement(scores) * certainty


def list_candidates(stages: Sequence[Stage]) -> list[Candidate]:
    """Lists the models of a run that have scores.

    Args:
        stages: those of a run.

    Returns:
        The models, the earliest first.
    """
    return [
        Candidate(round=stage.round, target_statistics=with_statistics, score=compute_score(scores))
        for stage in stages
        for scores, with_statistics in (
            (stage.label_free, False),
            (stage.label_free_with_statistics, True),
        )
        if scores is not None
    ]


def select(stages: Sequence[Stage]) -> Selected | None:
    """Selects the model of the highest score; the earlier one of two that are equal.

    Args:
        stages: those of a run.

    Returns:
        The model; None where the source stage has no scores.
    """
    candidates = list_candidates(stages)
    if not candidates or candidates[0].round:
        return None
    best = max(candidates, key=lambda candidate: candidate.score)
    return Selected(**best.model_dump(), source_score=candidates[0].score)


def format_selection(selected: Selected, run_dir: str) -> str:
    """Formats the selected model as one line of a run's output.

    Args:
        selected: what `select` returned.
        run_dir: the run's directory, for the command that the line names.

    Returns:
        Text of one line.
    """
    return (
        f"Selected without target labels: {selected.name} (score {selected.score:.3f}, source "
        f"stage {selected.source_score:.3f}). Export it: {format_export(run_dir, 'selected')}"
    )
