"""The groups of settings that a run consists of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras

from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.self_training.rounds import PseudoLabeler
from drsl_tf.self_training.target_statistics import TargetStatistics


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """What identifies a run, and how it computes.

    Args:
        experiment: the experiment's name.
        seed: of initial weights, order of images, and augmentation.
        deterministic: bit-equal reruns on one machine, at the price of speed: deterministic
            operators and one thread.
        precision: Keras's policy: "float32", "mixed_float16" or "mixed_bfloat16".
        initial_run: directory of another run, of the same base, segmentation head and classes,
            whose last weights this one starts from, those of its multi-modal head where that is
            the same. With no source steps the rounds alone are run. None starts from
            `build_model`'s weights.
        max_retries: how often a stage goes back to its last checkpoint, and on with other
            batches, after a loss or gradient that is not finite.
    """

    experiment: str
    seed: int = 0
    deterministic: bool = False
    precision: str = "float32"
    initial_run: str | None = None
    max_retries: int = 3


@dataclasses.dataclass(frozen=True)
class Learner:
    """The model and what updates it.

    Args:
        build_model: callable(label_space) that builds a `DrslModel`.
        optimizer: callable without arguments that builds a Keras optimizer.
        gradient_update: what happens to gradients before the optimizer gets them; None is
            `GradientUpdate()`, which leaves them as they are.
    """

    build_model: Callable
    optimizer: Callable[[], keras.optimizers.Optimizer]
    gradient_update: GradientUpdate | None = None


@dataclasses.dataclass(frozen=True)
class SelfTraining:
    """How the rounds use the unlabelled target.

    Args:
        pseudo_labeler: selects the pseudo-labels; None is `PseudoLabeler()`.
        target_statistics: computes batch normalisation's statistics over the target, before the
            first round and after every one; None keeps those of training.
    """

    pseudo_labeler: PseudoLabeler | None = None
    target_statistics: TargetStatistics | None = None
