"""Small models and batches for tests."""

import keras
import numpy as np
import tensorflow as tf

from drsl_tf.models.model import DrslModel
from drsl_tf.networks import backbones
from drsl_tf.networks.backbones import surgery
from drsl_tf.networks.heads import linear_head
from drsl_tf.networks.heads import multimodal_head
from tests.support import tiny_network

NUM_CLASSES = 5


def make_model(
    with_modes=True,
    batch_norm_training=True,
    model_class=DrslModel,
    num_classes=NUM_CLASSES,
    base=tiny_network.tiny_base,
    head_settings=None,
    **settings,
):
    """Builds a narrow model; the same weights at every call.

    `base` builds the base network. `head_settings` are further arguments of its multi-modal head.
    """
    keras.utils.set_random_seed(0)
    head = multimodal_head.MultimodalHead(
        num_classes,
        modes_per_class=2,
        embedding_dim=8,
        hidden_units=(16,),
        **(head_settings or {}),
    )
    model = model_class(
        base(),
        linear_head.LinearHead(num_classes),
        head if with_modes else None,
        **settings,
    )
    if not batch_norm_training:
        freeze_batch_norm(model)
    return model


def freeze_batch_norm(model):
    """Freezes batch normalisation's statistics in training too."""
    for layer in model.base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def make_smooth_base(width=8):
    """Builds a base network whose batch norms do not train, with swish in place of ReLU.

    Where a ReLU's input is 0 up to rounding, rounding decides whether it has a gradient: equal runs
    on one and on two workers would differ by more than rounding from there on.
    """

    def edit_layer(layer):
        if isinstance(layer, keras.layers.ReLU):
            return keras.layers.Activation("swish", name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    base = keras.models.clone_model(backbones.small_cnn(width=width), clone_function=edit_layer)
    surgery.freeze_batch_norm(base)
    return base


def compile_model(model, optimizer):
    """Compiles a model as the trainer does."""
    model.compile(optimizer=optimizer, jit_compile=False)


def make_batch(num_source=4, num_target=4, size=(32, 64), seed=0):
    """Draws a batch in which a fifth of the pixels is ignored."""
    rng = np.random.default_rng(seed)

    def draw(count):
        label = rng.integers(0, NUM_CLASSES, (count, size[0] // 8, size[1] // 8))
        label = label.repeat(8, axis=1).repeat(8, axis=2)
        label[rng.uniform(size=label.shape) < 0.2] = 255
        image = rng.uniform(0, 255, (count, *size, 3))
        return {
            "image": tf.constant(image, tf.float32),
            "label": tf.constant(label, tf.int32),
        }

    return {"source": draw(num_source), "target": draw(num_target)}


def make_uneven_batch(num_target=4):
    """Draws a batch whose last source image counts no pixel: means of parts' means are wrong."""
    batch = make_batch(num_target=num_target)
    label = batch["source"]["label"]
    batch["source"]["label"] = tf.concat([label[:3], tf.fill((1, *label.shape[1:]), 255)], axis=0)
    return batch


def run_steps(strategy, model, batch, steps):
    """Trains on one batch, an equal share of it on every replica."""
    replicas = strategy.num_replicas_in_sync
    shares = strategy.experimental_distribute_values_from_function(
        lambda context: tf.nest.map_structure(
            lambda tensor: tf.split(tensor, replicas)[context.replica_id_in_sync_group], batch
        )
    )
    step = tf.function(lambda data: strategy.run(model.train_step, args=(data,)), autograph=False)
    for _ in range(steps):
        step(shares)
