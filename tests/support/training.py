"""Whole runs in tests."""

import dataclasses

import keras

from drsl_tf.models.inference import Inference
from drsl_tf.monitoring.callbacks import Monitoring
from drsl_tf.training.adapt import adapt
from drsl_tf.training.settings import Learner
from drsl_tf.training.settings import RunSettings
from drsl_tf.training.settings import SelfTraining


class StopAfter(keras.callbacks.Callback):
    """Breaks a run off after a number of steps, without a checkpoint."""

    def __init__(self, steps):
        super().__init__()
        self._left = steps

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt


def train(run_dir, *, data, schedule, experiment="test", inference=Inference(), **options):
    """Calls `adapt`; `options` are fields of its groups of settings, by their own names.

    Pictures of modes, which take a second, are drawn only where `options` ask for them.
    """
    options.setdefault("mode_images", 0)

    def make(group, **given):
        names = {field.name for field in dataclasses.fields(group)} & options.keys()
        return group(**given, **{name: options.pop(name) for name in names})

    groups = {
        "learner": make(Learner),
        "settings": make(RunSettings, experiment=experiment),
        "self_training": make(SelfTraining),
        "monitoring": make(Monitoring),
    }
    assert not options, f"No group has {', '.join(options)}"
    return adapt(str(run_dir), data=data, schedule=schedule, inference=inference, **groups)
