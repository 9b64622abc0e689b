"""Compares the teacher on several replicas with one."""

import keras

from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.self_training.online_model import OnlineDrslModel
from tests.support import replicas
from tests.support import toys


def _train(strategy, batch):
    with strategy.scope():
        model = toys.make_model(
            model_class=OnlineDrslModel,
            batch_norm_training=False,
            sma_weight=0.0,
            threshold=0.25,
            teacher_decay=0.6,
            mix_classes=True,
            mask_weight=1.0,
        )
        model.compile(
            optimizer=keras.optimizers.SGD(0.01),
            gradient_update=GradientUpdate(head_rate_factor=10.0, micro_batches=2),
            jit_compile=False,
        )
    toys.run_steps(strategy, model, batch, 3)
    return [variable.numpy() for variable in model.teacher.variables]


def check(one, many):
    """Compares the teachers after three steps."""
    batch = toys.make_batch(num_source=8, num_target=8)
    largest = replicas.find_largest_difference(_train(one, batch), _train(many, batch))
    assert largest <= 1e-5, largest
    print(f"teacher: largest difference {largest:.2e}")
