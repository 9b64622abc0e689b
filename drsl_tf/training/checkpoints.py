"""Checkpoints that hold every variable a run changes, each under a name of its own."""

from __future__ import annotations

import os
from typing import Dict

import tensorflow as tf

from drsl_tf import compat


class CheckpointStore:
    """Saves and restores a run's state.

    Tracking a whole model misses variables on Keras 3 (layers in lists, states of random layers,
    statistics of functional backbones), so every variable is listed here by hand.

    Args:
        directory: where the checkpoints lie.
        model: a model with every variable created.
        optimizer: its optimizer, slots created; one of its heads is found through the model.
        counters: further variables of the run, by name.
        keep: how many checkpoints stay on disk.
    """

    def __init__(
        self, directory: str, model, optimizer, counters: Dict[str, tf.Variable], keep: int = 2
    ):
        self.variables = {
            "model": _number_variables(model.variables),
            "optimizer": _number_variables(compat.list_optimizer_variables(optimizer)),
            "counters": dict(counters),
        }
        head_optimizer = model.gradient_update.head_optimizer
        if head_optimizer is not None:
            self.variables["head_optimizer"] = _number_variables(
                compat.list_optimizer_variables(head_optimizer)
            )
        self._checkpoint = tf.train.Checkpoint(**self.variables)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, os.path.join(directory, "checkpoints"), max_to_keep=keep
        )

    def save(self) -> str:
        """Writes a checkpoint.

        Returns:
            Its path.
        """
        return self._manager.save()

    def restore_latest(self) -> bool:
        """Restores the newest checkpoint.

        Returns:
            Whether there was one.
        """
        path = self._manager.latest_checkpoint
        if path is None:
            return False
        status = self._checkpoint.restore(path)
        status.assert_consumed()
        return True


def _number_variables(variables):
    return {
        f"{index:04d}": compat.as_tf_variable(variable)
        for index, variable in enumerate(variables)
    }
