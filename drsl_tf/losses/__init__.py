"""Losses as pure functions of tensors: each returns its sum and its count."""

from drsl_tf.losses.metric_learning import competing_modes
from drsl_tf.losses.metric_learning import mode_margin_loss
from drsl_tf.losses.metric_learning import mode_posterior_loss
from drsl_tf.losses.metric_learning import mode_sibling_loss
from drsl_tf.losses.metric_learning import nearest_modes
from drsl_tf.losses.metric_learning import squared_distances
from drsl_tf.losses.mode_alignment import stochastic_mode_alignment_loss
from drsl_tf.losses.segmentation import cross_entropy_loss

__all__ = [
    "competing_modes",
    "cross_entropy_loss",
    "mode_margin_loss",
    "mode_posterior_loss",
    "mode_sibling_loss",
    "nearest_modes",
    "squared_distances",
    "stochastic_mode_alignment_loss",
]
