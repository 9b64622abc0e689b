"""The loss terms on the embedding of one batch: margin, posterior, and mode alignment."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from drsl_tf import common
from drsl_tf.losses import metric_learning
from drsl_tf.losses import mode_alignment


@dataclasses.dataclass(frozen=True)
class ModeTerms:
    """Computes the requested terms.

    Attributes:
        names: requested terms: "dml_" and "posterior_" with "source" or "target", and "sma".
        margin: the margin alpha on squared distances.
        sigma: width of the mode posteriors.
        samples_per_mode: maximum number of pixels that one mode aligns in one domain.
        by_class: whether margin and posterior losses are per class.
    """

    names: frozenset
    margin: float
    sigma: float
    samples_per_mode: int
    by_class: bool

    def compute(
        self, pixels: dict[str, tuple[tf.Tensor, tf.Tensor]], modes: tf.Tensor, seed: tf.Tensor
    ) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        """Computes the terms.

        Args:
            pixels: by domain, an embedding (N, d) float32 of unit vectors and labels (N,) int32.
            modes: (C, K, d) float32 of unit vectors.
            seed: (2,) int32, of the alignment's sampling; None if "sma" is not requested.

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
        if "sma" in self.names and {common.SOURCE, common.TARGET} <= pixels.keys():
            terms["sma"] = mode_alignment.stochastic_mode_alignment_loss(
                *pixels[common.SOURCE],
                *pixels[common.TARGET],
                modes,
                samples_per_mode=self.samples_per_mode,
                seed=seed,
            )
        return terms
