"""Whole runs in tests."""

import dataclasses

from drsl_tf.models.inference import Inference
from drsl_tf.monitoring.callbacks import Monitoring
from drsl_tf.training.adapt import adapt
from drsl_tf.training.settings import Learner
from drsl_tf.training.settings import RunSettings
from drsl_tf.training.settings import SelfTraining


def train(run_dir, *, data, schedule, experiment="test", inference=Inference(), **options):
    """Calls `adapt`; `options` are fields of its groups of settings, by their own names."""

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
