"""Baseline: TensorFlow Addons' triplet losses instead of distances to modes."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf import common
from drsl_tf.models.model import DrslModel


class TripletModel(DrslModel):
    """A `DrslModel` whose embedding is trained by triplets of pixels, without modes.

    In each domain up to `pixels` valid pixels are drawn uniformly and compared pairwise. The loss
    replaces L_dml, with its weight and its count of valid pixels; there is no alignment.

    Args:
        base: see `DrslModel`.
        segmentation_head: see `DrslModel`.
        multimodal_head: see `DrslModel`; its embedding is used, its modes are not.
        mining: "semihard" (F. Schroff et al., FaceNet, CVPR 2015) or "hard" (A. Hermans et al.,
            2017): which of TensorFlow Addons' two losses.
        pixels: pixels drawn per domain, step and replica.
        **settings: further arguments of `DrslModel`; `sma_weight` and
            `posterior_weight` are 0, and means are over pixels.

    Raises:
        UserError: `mining` is unknown.
    """

    def __init__(
        self,
        base,
        segmentation_head,
        multimodal_head,
        *,
        mining: str = "semihard",
        pixels: int = 512,
        **settings,
    ):
        if mining not in ("semihard", "hard"):
            raise UserError(f"TripletModel.mining is {mining!r}; choose 'semihard' or 'hard'.")
        super().__init__(
            base,
            segmentation_head,
            multimodal_head,
            sma_weight=0.0,
            posterior_weight=0.0,
            class_balance=False,
            **settings,
        )
        self.objective.mode_terms = _TripletTerms(mining, pixels, self.objective.mode_terms.margin)


@dataclasses.dataclass(frozen=True)
class _TripletTerms:
    mining: str
    pixels: int
    margin: float

    def compute(self, pixels, modes, seed):
        """Computes the terms of `ModeTerms` without modes."""
        del modes
        import tensorflow_addons as tfa  # Only on the older dependency line.

        losses = {
            "semihard": tfa.losses.triplet_semihard_loss,
            "hard": tfa.losses.triplet_hard_loss,
        }
        terms = {}
        for number, (domain, (vectors, ids)) in enumerate(pixels.items()):
            valid = tf.where(tf.not_equal(ids, common.IGNORE_ID))[:, 0]
            count = tf.shape(valid)[0]
            draws = tf.random.stateless_uniform((count,), seed + tf.constant([number, 0]))
            chosen = tf.gather(valid, tf.argsort(draws)[: self.pixels])
            loss = tf.cond(
                count > 1,
                lambda vectors=vectors, ids=ids, chosen=chosen: losses[self.mining](
                    tf.gather(ids, chosen), tf.gather(vectors, chosen), margin=self.margin
                ),
                lambda: tf.constant(0.0),
            )
            # TensorFlow Addons divides by the number of triplets, which may be 0.
            loss = tf.where(tf.math.is_finite(loss), loss, 0.0)
            total = tf.cast(count, tf.float32)
            terms[f"dml_{domain}"] = (loss * total, total)
        return terms
