"""Gradient accumulation, decay and clipping before the optimizers' step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from drsl_tf import compat
from drsl_tf.optimization.scaled_schedule import ScaledSchedule

_HEAD = "head_optimizer"


@keras.saving.register_keras_serializable(package="drsl_tf")
class GradientUpdate:
    """Splits batches, adjusts gradients, and passes them to the optimizers.

    The defaults leave gradients unchanged. Each model needs its own object.

    The gradient over `micro_batches` parts is that of the whole batch: every part's losses are
    divided by the counts of all parts. Only mode alignment and the feature distance are means over
    the parts: a mode may be shared by the whole batch but by no part. All parts run within one
    training step, so schedules count whole batches. Batch normalisation that is not frozen uses
    the statistics of one part at a time.

    A callback that sets the learning rate of `model.optimizer`, such as `ReduceLROnPlateau`, does
    not reach that optimizer's copies (`copies`); a schedule does.

    Args:
        weight_decay: adds weight_decay * w to the gradient of every kernel w: the coupled decay
            of SGD recipes; Keras's own `weight_decay` is decoupled. Biases, scales and offsets
            of norms, and modes do not decay.
        clip_norm: maximum L2 norm of the gradient over all variables and replicas, before the
            decay is added; None does not clip.
        head_rate_factor: factor of the heads' learning rate to the base's. If not 1, a copy of
            the optimizer with a scaled rate updates both heads, and layers that make and join the
            levels of the base's encoder.
        layer_decay: factor of the learning rate of each layer of the base's encoder to the next
            one's, as in BEiT (H. Bao et al., ICLR 2022): a layer at depth n, counted from the
            encoder's output, learns at layer_decay^n of the rate. If not 1, each depth has a copy
            of the optimizer; only `dinov3` tells the depths of its layers.
        micro_batches: number of parts into which each replica's batch is split; more parts
            need less memory.
    """

    def __init__(
        self,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        head_rate_factor: float = 1.0,
        layer_decay: float = 1.0,
        micro_batches: int = 1,
    ):
        for name, value, fits in (
            ("weight_decay", weight_decay, weight_decay >= 0),
            ("clip_norm", clip_norm, clip_norm is None or clip_norm > 0),
            ("head_rate_factor", head_rate_factor, head_rate_factor > 0),
            ("layer_decay", layer_decay, layer_decay > 0),
        ):
            if not fits:
                least = "at least 0" if name == "weight_decay" else "above 0"
                raise UserError(f"GradientUpdate.{name} is {value}; it must be {least}.")
        check_integer("GradientUpdate.micro_batches", micro_batches, least=1)
        self.micro_batches = micro_batches
        self._weight_decay = weight_decay
        self._clip_norm = clip_norm
        self._head_rate_factor = head_rate_factor
        self._layer_decay = layer_decay
        self._optimizer = None
        self._copies: dict[str, keras.optimizers.Optimizer] = {}
        self._owners: dict[int, str] = {}

    @property
    def copies(self) -> dict[str, keras.optimizers.Optimizer]:
        """The copies of the model's optimizer with other rates, by name."""
        return dict(self._copies)

    @property
    def head_optimizer(self) -> keras.optimizers.Optimizer | None:
        """The optimizer of the heads; None if the model's own updates them."""
        return self._copies.get(_HEAD)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "weight_decay": self._weight_decay,
            "clip_norm": self._clip_norm,
            "head_rate_factor": self._head_rate_factor,
            "layer_decay": self._layer_decay,
            "micro_batches": self.micro_batches,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GradientUpdate:
        """Rebuilds an object, not attached to a model, from `get_config`'s dict."""
        return cls(**config)

    def attach(self, model: keras.Model) -> None:
        """Creates the optimizers' variables; called by the model's `compile`.

        Args:
            model: a `DrslModel` with an optimizer.
        """
        variables = list(model.trainable_variables)
        self._optimizer = model.optimizer
        self._owners = {}
        factors = {}
        if self._layer_decay != 1.0:
            depths = model.encoder_depths
            if not depths:
                raise UserError(
                    f"GradientUpdate.layer_decay is {self._layer_decay}, but the base "
                    f"{model.base.name!r} does not tell the depths of its layers: bind it to 1."
                )
            for variable, depth in depths:
                if depth:
                    name = f"depth{depth}_optimizer"
                    self._owners[id(variable)] = name
                    factors[name] = self._layer_decay**depth
        if self._head_rate_factor != 1.0:
            self._owners.update((id(variable), _HEAD) for variable in model.head_variables)
            factors[_HEAD] = self._head_rate_factor
        self._copies = {
            name: compat.copy_optimizer(model.optimizer, _make_scaling(factor))
            for name, factor in factors.items()
        }
        for optimizer, indices in self._share_out(variables):
            compat.build_optimizer_slots(optimizer, [variables[i] for i in indices])

    def split_batch(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """Splits a replica's batch, both source and target.

        Args:
            batch: nested dict of tensors with the images on the first axis; `micro_batches` divides
                the number of images of each domain.

        Returns:
            List of `micro_batches` such dicts.
        """
        if self.micro_batches == 1:
            return [batch]
        splits = tf.nest.map_structure(lambda x: tf.split(x, self.micro_batches), batch)
        return [
            {
                domain: {key: parts[index] for key, parts in half.items()}
                for domain, half in splits.items()
            }
            for index in range(self.micro_batches)
        ]

    def apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> None:
        """Updates the variables by one step.

        Args:
            gradients: list of tensors of the scaled loss (`compat.scale_loss`), summed over the
                replicas.
            variables: the trainable variables they belong to.
        """
        gradients = compat.unscale_gradients(self._optimizer, gradients)
        if self._copies and compat.has_loss_scale(self._optimizer):
            # All optimizers skip a step, or none does: their loss scales stay equal.
            finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
            poison = tf.where(tf.reduce_all(finite), 0.0, float("nan"))
            gradients = [gradient + poison for gradient in gradients]
        if self._clip_norm is not None:
            # Infinite gradients have no norm; NaN makes an optimizer with a loss scale skip them.
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm)
        if self._weight_decay:
            gradients = [
                gradient + self._weight_decay * tf.convert_to_tensor(variable)
                if _is_kernel(variable)
                else gradient
                for gradient, variable in zip(gradients, variables)
            ]
        for optimizer, indices in self._share_out(variables):
            compat.apply_reduced_gradients(
                optimizer, [gradients[i] for i in indices], [variables[i] for i in indices]
            )

    def _share_out(self, variables):
        """Lists (optimizer, indices of its variables) for optimizers with variables."""
        owners = [self._owners.get(id(variable)) for variable in variables]
        shares = [
            (optimizer, [i for i, owner in enumerate(owners) if owner == name])
            for name, optimizer in [(None, self._optimizer), *self._copies.items()]
        ]
        return [(optimizer, indices) for optimizer, indices in shares if indices]


def _make_scaling(factor):
    """Returns the function that scales a learning rate, a float or a schedule."""
    return lambda rate: ScaledSchedule(rate, factor) if callable(rate) else rate * factor


def _is_kernel(variable):
    return variable.name.split("/")[-1].split(":")[0].endswith("kernel")
