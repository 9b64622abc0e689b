"""Builds a model from its parts, as config files describe it."""

from __future__ import annotations

from collections.abc import Callable

from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf.models.model import DrslModel


def build_model(
    label_space: LabelSpace,
    *,
    base: Callable,
    segmentation_head: Callable,
    multimodal_head: Callable | None = None,
    model: Callable = DrslModel,
    seed: int = 0,
) -> DrslModel:
    """Builds the model of an experiment; called under the experiment's strategy.

    Args:
        label_space: sets the number of classes of both heads.
        base: callable without arguments that builds the base network.
        segmentation_head: callable(num_classes) that builds the segmentation head.
        multimodal_head: callable(num_classes, seed=seed) that builds the multi-modal head; None
            trains by cross-entropy alone.
        model: callable(base, segmentation_head, multimodal_head, seed=seed) that joins them.
        seed: seed of the modes' initial values and of what the model draws in its steps.

    Returns:
        The model, every variable created.
    """
    num_classes = label_space.num_classes
    head = None if multimodal_head is None else multimodal_head(num_classes, seed=seed)
    return model(base(), segmentation_head(num_classes), head, seed=seed)
