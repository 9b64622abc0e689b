"""AdamW for transformers: norms and biases do not decay."""

from __future__ import annotations

from typing import Any

import keras

# Names that do not end in "kernel", or in "kernel:0" on Keras 2.
_NO_KERNEL = r"^(?!.*kernel(:\d+)?$)"


@keras.saving.register_keras_serializable(package="drsl_tf")
class KernelAdamW(keras.optimizers.AdamW):
    """Keras's AdamW with weight decay of kernels only.

    I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019: each step
    subtracts rate * weight_decay * w from a weight, besides Adam's own step. Biases, scales and
    offsets of norms, and modes do not decay, as with `GradientUpdate.weight_decay`, whose coupled
    decay is not meant for Adam.

    Args:
        learning_rate: a float or a schedule.
        weight_decay: strength of the decay, multiplied by the learning rate.
        **settings: further arguments of `keras.optimizers.AdamW`.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.001,
        weight_decay: float = 0.004,
        **settings: Any,
    ):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **settings)
        self.exclude_from_weight_decay(var_names=[_NO_KERNEL])
