"""Groups of settings of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras

from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from drsl_tf.modes.start import ModeStart
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler
from drsl_tf.self_training.target_statistics import TargetStatistics

_PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
# Seeds of draws are int32 sums of the run's seed and constants below 2^23.
_LIMIT = 2_000_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Name, seed, precision and recovery of a run.

    Args:
        experiment: the experiment's name.
        seed: seed of initial weights, order of images, and augmentation.
        deterministic: bit-equal reruns on one machine, by deterministic operators and one thread;
            slower.
        precision: Keras's policy: "float32", "mixed_float16" or "mixed_bfloat16".
        initial_run: directory of another run with the same base network. The model is initialised
            from its last weights, including those of the segmentation head if that and the classes
            are the same, and of the multi-modal head if that is too. With the same head and no
            source steps only the rounds are run. None keeps the weights of `build_model`.
        max_retries: how often a stage returns to its last checkpoint and continues with other
            batches after a non-finite loss or gradient.
    """

    experiment: str
    seed: int = 0
    deterministic: bool = False
    precision: str = "float32"
    initial_run: str | None = None
    max_retries: int = 3

    def __post_init__(self):
        if not isinstance(self.experiment, str) or not self.experiment:
            raise UserError(f"RunSettings.experiment is {self.experiment!r}; it must be a name.")
        if self.precision not in _PRECISIONS:
            raise UserError(
                f"RunSettings.precision is {self.precision!r}; choose one of "
                f"{', '.join(_PRECISIONS)}."
            )
        for name in ("seed", "max_retries"):
            value = getattr(self, name)
            check_integer(f"RunSettings.{name}", value, least=0)
            if value >= _LIMIT:
                raise UserError(f"RunSettings.{name} is {value}; it must be below {_LIMIT:,}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learner:
    """The model and its optimizer.

    Args:
        build_model: callable(label_space) that builds a `DrslModel`.
        optimizer: callable without arguments that builds a Keras optimizer.
        gradient_update: processing of gradients before the optimizer; None is `GradientUpdate()`,
            which leaves them unchanged.
        mode_start: sets the modes to clusters of embeddings during the source stage; None leaves
            them to training.
    """

    build_model: Callable
    optimizer: Callable[[], keras.optimizers.Optimizer]
    gradient_update: GradientUpdate | None = None
    mode_start: ModeStart | None = None


@dataclasses.dataclass(frozen=True)
class SelfTraining:
    """Use of the unlabelled target in the rounds.

    Args:
        pseudo_labeler: selects the pseudo-labels; None is `PseudoLabeler()`. It is not used by
            `OnlineDrslModel`, which labels the target itself.
        target_statistics: computes batch normalisation's statistics over the target, before the
            first round and after each round; None keeps those of training.
        selection: "label_free" scores every stage on 100 unlabelled target images and keeps the
            model of the highest score (`docs/runs.md`); None keeps no selection.
    """

    pseudo_labeler: PseudoLabeler | None = None
    target_statistics: TargetStatistics | None = None
    selection: str | None = None

    def __post_init__(self):
        if self.selection not in (None, "label_free"):
            raise UserError(
                f'SelfTraining.selection is {self.selection!r}; choose "label_free" or None.'
            )
