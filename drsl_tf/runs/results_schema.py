"""The record of a run: the models of `results.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from typing import Literal

import pydantic

from data_pipelines.io.json_models import VersionedModel
from drsl_tf import files
from drsl_tf.evaluation.protocols import ProtocolScores
from drsl_tf.files import Number
from drsl_tf.runs.label_report import LabelReport

_MOST_ROUNDS = 10_000
_Share = Annotated[float, pydantic.Field(ge=0, le=1)]
_Percent = Annotated[float, pydantic.Field(ge=0, le=100.001)]


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
    pixels: dict[str, Annotated[int, pydantic.Field(ge=0)]]
    agreement: dict[str, dict[str, _Share | None]]
    entropies: dict[str, Number | None]
    entropy: Number
    marginal_entropy: Number
    density: Number

    @pydantic.model_validator(mode="after")
    def _check_classes(self) -> LabelFreeScores:
        names = list(self.pixels)
        parts = [*self.agreement.values(), self.entropies]
        if not names or len(parts) < 2 or any(list(part) != names for part in parts):
            raise ValueError("pixels, agreement and entropies are of different classes")
        return self


class StageScores(files.Entry):
    """Scores of a stage on the target's evaluation split.

    Attributes:
        round: 0 for the source stage, then the round.
        miou: mean IoU in percent; None where the target has no labels.
        iou: IoU in percent by class name, None for a class neither present nor predicted; None
            where the target has no labels.
    """

    round: Annotated[int, pydantic.Field(ge=0, lt=_MOST_ROUNDS)]
    miou: _Percent | None
    iou: dict[str, _Percent | None] | None


class Stage(StageScores):
    """The record of a stage.

    Attributes:
        num_classes_scored: classes that `miou` averages.
        pseudo_label: report of the pseudo-labels it trained on; None in the source stage.
        warnings: sentences for the user.
        steps: training steps; None in files of earlier versions.
        seconds: wall time, over all processes that ran it.
        protocols: scores over subsets of Cityscapes' classes, by name.
        label_free: scores on unlabelled target images; None without a selection.
        label_free_with_statistics: those of the source stage with the target's batch statistics;
            None in a run that does not compute these, and in the rounds.
    """

    num_classes_scored: int | None = None
    pseudo_label: LabelReport | None
    warnings: list[str] = []
    steps: int | None = None
    seconds: Annotated[Number, pydantic.Field(ge=0)]
    protocols: dict[str, ProtocolScores] = {}
    label_free: LabelFreeScores | None = None
    label_free_with_statistics: LabelFreeScores | None = None

    @pydantic.model_validator(mode="after")
    def _check_classes(self) -> Stage:
        if self.iou is not None and self.pseudo_label is not None:
            if list(self.iou) != list(self.pseudo_label.thresholds):
                raise ValueError("iou and pseudo_label are of different classes")
        return self


class Candidate(files.Entry):
    """A model of a run.

    Attributes:
        round: 0 for the source stage.
        target_statistics: whether it is the source stage with the target's batch statistics.
        score: see `selection.compute_score`.
    """

    round: int
    target_statistics: bool
    score: Number

    @property
    def name(self) -> str:
        """The model's name in texts."""
        name = f"round {self.round}" if self.round else "the source stage"
        return name + " with the target's batch statistics" * self.target_statistics


class Selected(Candidate):
    """The model selected without target labels.

    Attributes:
        source_score: the score of the source stage.
    """

    source_score: Number


class Verdict(files.Entry):
    """Whether adaptation helped.

    Attributes:
        outcome: "unknown" has a reason, the others have the numbers below.
        round: the last one.
        reason: why the outcome is unknown.
        points: gain in mIoU.
        source_miou: mIoU of the source stage, in percent.
        last_miou: mIoU of the last round, in percent.
        classes_up: how many classes have a higher IoU.
        classes_down: how many classes have a lower IoU.
    """

    outcome: Literal["helped", "hurt", "unchanged", "unknown"]
    round: int
    reason: Literal["no_labels", "no_source_stage"] | None = None
    points: Number | None = None
    source_miou: Number | None = None
    last_miou: Number | None = None
    classes_up: int | None = None
    classes_down: int | None = None


class RunResults(files.Entry, VersionedModel):
    """The content of `results.json`.

    Attributes:
        version: of this format.
        experiment: the experiment's name.
        seed: the experiment's seed.
        initial_run: directory of the run whose weights this one started from, if any.
        versions: of Python and the main packages, by name.
        stages: finished stages, by round.
        last: scores of the last stage.
        best: scores of the stage of highest mIoU, which is chosen with target labels.
        selected: the model selected without target labels; None without a selection.
        verdict: whether adaptation helped; None without rounds.
        protocols: those of the last stage.
    """

    version: Literal[1] = pydantic.Field(alias="schema")
    experiment: str
    seed: int
    initial_run: str | None = None
    versions: dict[str, str]
    stages: list[Stage]
    last: StageScores | None = None
    best: StageScores | None = None
    selected: Selected | None = None
    verdict: Verdict | None = None
    protocols: dict[str, ProtocolScores] = {}

    @pydantic.field_validator("stages")
    @classmethod
    def _check_order(cls, stages: list[Stage]) -> list[Stage]:
        rounds = [stage.round for stage in stages]
        if rounds != sorted(set(rounds)):
            raise ValueError(f"the rounds {rounds} are not in order")
        return stages


def read_results(path: str) -> RunResults:
    """Reads the record of a run.

    Args:
        path: the file `results.json`.

    Returns:
        Its content.

    Raises:
        UserError: it cannot be read, is of another schema, or holds an invalid value.
    """
    fix = "Put a copy of it back, or use the version of drsl_tf that wrote it."
    return files.read_model(path, RunResults, fix)


def find_best_round(stages: Sequence[StageScores]) -> int | None:
    """Finds the round of highest mIoU, which is chosen with target labels.

    Args:
        stages: those of a run.

    Returns:
        The first such round; None if no round was scored.
    """
    scored = [(stage.miou, -stage.round) for stage in stages if stage.miou is not None]
    return -max(scored)[1] if scored else None


def name_stage(round_index: int) -> str:
    """Returns the name of a stage in texts.

    Args:
        round_index: 0 for the source stage.

    Returns:
        Such as "round 3".
    """
    return f"round {round_index}" if round_index else "source only"
