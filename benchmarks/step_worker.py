"""Times steps in a separate process: reads counts of steps, prints seconds per step.

  echo 5 | python -m benchmarks.step_worker --network=efficientnet_lite0 --modes=3

The first line is the number of trainable parameters; the last one, after the end of input, the
process's peak memory in bytes. `--modes=0` trains by cross-entropy only. `--step=evaluate` times
`Evaluator` instead of training: the network, upsampling, argmax and counting.
"""

from __future__ import annotations

import math
import resource
import sys
import time
import types

from absl import flags

from benchmarks import networks
from data_pipelines import cli

_NETWORK = flags.DEFINE_enum("network", "efficientnet_lite0", networks.NAMES, "Which.")
_STEP = flags.DEFINE_enum("step", "train", ["train", "evaluate"], "Kind of step.")
_MODES = flags.DEFINE_integer("modes", 0, "Modes per class; 0 is self-training by cross-entropy.")
_TEACHER = flags.DEFINE_bool("teacher", False, "A mean teacher labels the target; ClassMix.")
_MASK_WEIGHT = flags.DEFINE_float("mask_weight", 0.0, "Weight of masked images, with --teacher.")
_HEIGHT = flags.DEFINE_integer("height", 176, "Height of the images.")
_WIDTH = flags.DEFINE_integer("width", 240, "Width of the images.")
_IMAGES = flags.DEFINE_integer(
    "images", 4, "Images of each domain in a training batch, of one domain in an evaluated one."
)
_POLICY = flags.DEFINE_string("policy", "float32", "Keras's precision policy.")
_MICRO_BATCHES = flags.DEFINE_integer("micro_batches", 1, "Parts of a training batch.")
_WARM_STEPS = flags.DEFINE_integer("warm_steps", 2, "Warm-up steps that are not timed.")
_NUM_CLASSES = 19


def main() -> None:
    """Builds the model and runs steps until the end of input."""
    import keras

    from drsl_tf import compat
    from drsl_tf.distribution.strategy import create_strategy
    from drsl_tf.models.model import DrslModel
    from drsl_tf.networks.heads.multimodal_head import MultimodalHead
    from drsl_tf.optimization.gradient_update import GradientUpdate
    from drsl_tf.self_training.online_model import OnlineDrslModel

    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_global_policy(_POLICY.value)
    strategy = create_strategy()
    with strategy.scope():
        base, head = networks.build_parts(_NETWORK.value, _NUM_CLASSES)
        modes = MultimodalHead(_NUM_CLASSES, _MODES.value) if _MODES.value else None
        if _TEACHER.value:
            model = OnlineDrslModel(
                base, head, modes, mix_classes=True, mask_weight=_MASK_WEIGHT.value
            )
        else:
            model = DrslModel(base, head, modes)
        if _STEP.value == "train":
            model.compile(
                optimizer=keras.optimizers.Adam(1e-4),
                gradient_update=GradientUpdate(micro_batches=_MICRO_BATCHES.value),
                jit_compile=False,
            )
    make_run = {"train": _make_training, "evaluate": _make_evaluation}[_STEP.value]
    run = make_run(model, strategy)

    def time_steps(count):
        began = time.perf_counter()
        run(count)
        return (time.perf_counter() - began) / count

    time_steps(_WARM_STEPS.value)
    size = sum(
        compat.as_tf_variable(variable).shape.num_elements()
        for variable in model.trainable_variables
    )
    print(size, flush=True)
    for line in sys.stdin:
        print(time_steps(int(line)), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def _make_training(model, strategy):
    """Returns a function that trains a number of steps."""
    import tensorflow as tf

    def to_tensors(image, label):
        return {"image": tf.constant(image), "label": tf.constant(label, tf.int32)}

    batch = {"source": to_tensors(*_draw(0, 0.1)), "target": to_tensors(*_draw(1, 0.5))}

    @tf.function
    def train():
        return strategy.run(model.train_step, args=(batch,))["loss"]

    def run(count):
        for _ in range(count):
            loss = train()
        loss = float(strategy.experimental_local_results(loss)[0])
        if not math.isfinite(loss):
            raise ArithmeticError(f"The loss is {loss}: the timed steps are invalid.")

    return run


def _make_evaluation(model, strategy):
    """Returns a function that evaluates a number of batches."""
    from data_pipelines.domains.domain import Pair
    from drsl_tf.evaluation.evaluator import Evaluator

    images, labels = _draw(0, 0.1)
    images, labels = images.astype("uint8"), labels.astype("uint8")
    domain = types.SimpleNamespace(
        read_image=lambda place: images[int(place)], read_label=lambda place: labels[int(place)]
    )
    places = [str(place) for place in range(len(images))]
    evaluator = Evaluator(model, strategy, batch_size=len(images))

    def run(count):
        evaluator.evaluate(domain, count * [Pair(place, place, place) for place in places])

    return run


def _draw(seed, ignored):
    """Draws noise (n, H, W, 3) float32 and labels in blocks (n, H, W), partly ignored."""
    import numpy as np

    generator = np.random.default_rng(seed)
    size = (_IMAGES.value, _HEIGHT.value, _WIDTH.value)
    shape = (size[0], -(-size[1] // 16), -(-size[2] // 16))
    blocks = generator.integers(0, _NUM_CLASSES, shape)
    blocks[generator.random(shape) < ignored] = 255
    label = blocks.repeat(16, axis=1).repeat(16, axis=2)[:, : size[1], : size[2]]
    return generator.uniform(0, 255, (*size, 3)).astype("float32"), label


if __name__ == "__main__":
    cli.run_command(main)
