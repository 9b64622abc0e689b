"""The loss terms on the embedding of one batch: margin, posterior, siblings, mode alignment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from drsl_tf import common
from drsl_tf.losses import metric_learning
from drsl_tf.losses import mode_alignment


class Competition(NamedTuple):
    """How the modes of one class compete in a step, see `metric_learning.mode_sibling_loss`.

    Attributes:
        usage: (C, K) float32.
        temperature: scale of the cosines.
        rivalry: float32 scalar in [0, 1].
    """

    usage: tf.Tensor
    temperature: float
    rivalry: tf.Tensor


@dataclasses.dataclass(frozen=True)
class ModeTerms:
    """Computes the requested terms.

    Attributes:
        names: requested terms: "dml_", "posterior_" and "siblings_" with "source" or "target", and
            "sma".
        margin: the margin alpha on squared distances.
        sigma: width of the mode posteriors.
        samples_per_mode: maximum number of pixels that one mode aligns in one domain.
        by_class: whether all losses but the alignment are per class.
        compete: returns the competition of a step; called where "siblings_" is requested.
    """

    names: frozenset
    margin: float
    sigma: float
    samples_per_mode: int
    by_class: bool
    compete: Callable[[], Competition]

    def compute(
        self, pixels: dict[str, tuple[tf.Tensor, tf.Tensor]], modes: tf.Tensor, seed: tf.Tensor
    ) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        """Computes the terms.

        Args:
            pixels: by domain, an embedding (N, d) float32 of unit vectors and labels (N,) int32.
            modes: (C, K, d) float32 of unit vectors.
            seed: (2,) int32, of the alignment's sampling.

        Returns:
            By name, a sum and a count: float32 scalars, or (C,) if per class.
        """
        terms = {}
        for domain, (vectors, ids) in pixels.items():
            distances = metric_learning.squared_distances(vectors, modes)
            if f"dml_{domain}" in self.names:
                terms[f"dml_{domain}"] = metric_learning.mode_margin_loss(
                    distances, ids, margin=self.margin, by_class=self.by_class
                )
            if f"posterior_{domain}" in self.names:
                terms[f"posterior_{domain}"] = metric_learning.mode_posterior_loss(
                    distances, ids, sigma=self.sigma, by_class=self.by_class
                )
            if f"siblings_{domain}" in self.names:
                terms[f"siblings_{domain}"] = metric_learning.mode_sibling_loss(
                    distances, ids, **self.compete()._asdict(), by_class=self.by_class
                )
        if "sma" in self.names and {common.SOURCE, common.TARGET} <= pixels.keys():
            terms["sma"] = mode_alignment.stochastic_mode_alignment_loss(
                *pixels[common.SOURCE],
                *pixels[common.TARGET],
                modes,
                samples_per_mode=self.samples_per_mode,
                seed=seed,
            )
        return terms
