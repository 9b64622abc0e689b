"""A whole run whose target labels are made in training."""

import os

import keras
import numpy as np
import pytest

from data_pipelines.batches import training_batches
from data_pipelines.batches.rare_classes import RareClassSampler
from data_pipelines.errors import UserError
from drsl_tf.networks.heads import linear_head
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.self_training.online_model import OnlineDrslModel
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.self_training.target_statistics import TargetStatistics
from tests.support import streets
from tests.support import tiny_network
from tests.support import training


def _make_data(folder):
    return streets.make_data(streets.render_roots(folder, num_source=4), scale=(0.5, 1.5))


def _build_model(label_space):
    return OnlineDrslModel(
        tiny_network.tiny_base(),
        linear_head.LinearHead(label_space.num_classes),
        threshold=0.1,
        mix_classes=True,
    )


def test_a_run_without_pseudo_label_files(tmp_path):
    data = _make_data(tmp_path)
    stream_labels = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            # The teacher has the target's statistics too.
            student = self.model.base.weights + self.model.segmentation_head.weights
            for variable, other in zip(self.model.teacher.variables, student, strict=True):
                np.testing.assert_array_equal(variable, other)

        def on_train_batch_end(self, batch, logs=None):
            stream_labels.append(logs.get("ce_target"))

    results = training.train(
        tmp_path / "run",
        data=data,
        schedule=Schedule(source_steps=1, rounds=1, steps_per_round=2),
        build_model=_build_model,
        optimizer=lambda: keras.optimizers.SGD(0.01),
        gradient_update=GradientUpdate(head_rate_factor=10.0, micro_batches=2),
        target_statistics=TargetStatistics(),
        callbacks=[Watch()],
    )
    assert [stage.round for stage in results.stages] == [0, 1]
    assert all(stage.pseudo_label is None for stage in results.stages)
    assert not os.path.exists(tmp_path / "run" / "pseudo_labels")
    assert stream_labels[-1] > 0


def test_a_sampler_that_needs_pseudo_labels_is_refused_before_the_first_step(tmp_path):
    roots = streets.render_roots(tmp_path, num_source=4)
    with pytest.raises(UserError, match="target_sampler"):
        training.train(
            tmp_path / "run",
            data=streets.make_data(roots, target_sampler=RareClassSampler()),
            schedule=Schedule(source_steps=1, rounds=1, steps_per_round=2),
            build_model=_build_model,
            optimizer=lambda: keras.optimizers.SGD(0.01),
        )
    assert not os.path.exists(tmp_path / "run" / "checkpoints")


def test_the_unlabelled_stream_opens_no_label_file(tmp_path):
    data = _make_data(tmp_path)
    data.audit()
    data.target_pairs = [pair._replace(label_path=None) for pair in data.target_pairs]
    stream = data.make_unlabelled_target_stream()
    batches = training_batches.make_training_batches(
        data.make_source_stream(), stream, steps=4, seed=0, round_index=1
    )
    labels = np.concatenate([batch["target"]["label"] for batch in batches.as_numpy_iterator()])
    # Scales below 1 pad: nothing but 0 and the ignore id is there.
    assert set(np.unique(labels)) == {0, 255}


def test_micro_batches_must_divide_every_replicas_share(tmp_path):
    data = _make_data(tmp_path)
    data.check_replicas(1, 2)
    with pytest.raises(UserError, match="2 replicas of 2 micro-batches.*multiple of 4"):
        data.check_replicas(2, 2)
