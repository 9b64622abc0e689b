"""Run directories with a model that was never trained, for tests of what comes after training."""

import os

import gin
import keras
import numpy as np
import tensorflow as tf

from data_pipelines.streets import rendered
from drsl_tf.experiments.experiment import Experiment
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.runs.run_directory import RunDirectory
from tests.support import toys

SIZE = (32, 64)

_CONFIG = """
from __gin__ import dynamic_registration
from data_pipelines.batches import adaptation
from data_pipelines.batches import augment
from data_pipelines.labels import label_spaces
from data_pipelines.domains import cityscapes
from data_pipelines.domains import gta5
import drsl_tf
import keras
from tests.support import tiny_network

drsl_tf.adapt.learner = @drsl_tf.Learner()
drsl_tf.adapt.settings = @drsl_tf.RunSettings()
drsl_tf.adapt.inference = @drsl_tf.Inference()
drsl_tf.RunSettings.experiment = "test"
drsl_tf.adapt.data = @adaptation.AdaptationData()
adaptation.AdaptationData.source = @gta5.Gta5()
adaptation.AdaptationData.target = @cityscapes.Cityscapes()
adaptation.AdaptationData.source_augmenter = @augment.Augmenter()
adaptation.AdaptationData.target_augmenter = @augment.Augmenter()
augment.Augmenter.size = (32, 64)
gta5.Gta5.root = "absent"
cityscapes.Cityscapes.root = "{root}"
drsl_tf.adapt.schedule = @drsl_tf.Schedule()
drsl_tf.Schedule.source_steps = 1
drsl_tf.Schedule.rounds = 0
drsl_tf.Schedule.steps_per_round = 0
drsl_tf.Learner.optimizer = @keras.optimizers.SGD
drsl_tf.Learner.build_model = @drsl_tf.build_model
drsl_tf.build_model.base = @tiny_network.tiny_base
tiny_network.tiny_base.width = 8
drsl_tf.build_model.segmentation_head = @drsl_tf.LinearHead
drsl_tf.build_model.multimodal_head = @drsl_tf.MultimodalHead
drsl_tf.MultimodalHead.embedding_dim = 8
"""


def render_target(folder, count=1, val_count=3):
    """Renders a target in Cityscapes' layout; gives its root."""
    return rendered.rendered_root(
        root=os.path.join(folder, "camera"),
        layout="cityscapes",
        style="camera",
        count=count,
        val_count=val_count,
        size=SIZE,
        seed=5,
    )


def make_run(folder, root="absent", lines=(), seed=0):
    """Writes the configuration and the checkpoint of a run; gives its directory and model."""
    run_dir = os.path.join(folder, "run")
    os.makedirs(run_dir)
    config = RunDirectory(run_dir).config
    with open(config, "w", encoding="utf-8") as file:
        file.write(_CONFIG.replace("{root}", str(root)) + "\n".join(lines) + "\n")
    keras.utils.set_random_seed(seed)
    model = Experiment([config]).build_model()
    # A head as drawn gives one class everywhere; one that centres its logits gives many.
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 255, (1, 8, 16, 3)).repeat(16, axis=1).repeat(16, axis=2)
    features = model.base(images.astype(np.float32))["features"].numpy()
    features = features.reshape(-1, features.shape[-1])
    head = model.segmentation_head
    kernel = rng.normal(size=(features.shape[-1], model.num_classes)) / features.std()
    bias = -features.mean(axis=0) @ kernel
    head.set_weights([array.reshape(w.shape) for array, w in zip((kernel, bias), head.weights)])
    optimizer = keras.optimizers.SGD(0.1)
    toys.compile_model(model, optimizer)
    CheckpointStore(run_dir, model, optimizer, {}).save()
    gin.clear_config()
    return run_dir, model


def keep_source(run_dir, model):
    """Writes a run's model as the checkpoint of its source stage."""
    optimizer = keras.optimizers.SGD(0.1)
    toys.compile_model(model, optimizer)
    counters = {"round": tf.Variable(0, dtype=tf.int64, name="round")}
    store = CheckpointStore(run_dir, model, optimizer, counters)
    store.save()
    store.keep_copy(RunDirectory(run_dir).source_checkpoint)
