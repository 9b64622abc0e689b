"""Times steps in a separate process: reads counts of steps, prints seconds per step.

  echo 5 | python -m benchmarks.steps.step_worker --network=efficientnet_lite0 --modes=3

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

from benchmarks.steps import networks
from data_pipelines import cli

_NETWORK = flags.DEFINE_enum("network", "efficientnet_lite0", networks.NAMES, "Network to measure.")
_STEP = flags.DEFINE_enum("step", "train", ["train", "evaluate"], "Kind of step.")
_MODES = flags.DEFINE_integer("modes", 0, "Modes per class; 0 is self-training by cross-entropy.")
_MODES_FROM_DATA = flags.DEFINE_bool(
    "modes_from_data", False, "The modes follow their pixels, as in the recipe; with --modes."
)
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


def main() -> None:
    """Builds the model and runs steps until the end of input."""
    import keras

    from benchmarks.steps import step_model
    from drsl_tf import compat
    from drsl_tf.distribution.strategy import create_strategy

    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_global_policy(_POLICY.value)
    strategy = create_strategy()
    with strategy.scope():
        model = step_model.build_model(
            _NETWORK.value,
            _MODES.value,
            _MODES_FROM_DATA.value,
            teacher=_TEACHER.value,
            mask_weight=_MASK_WEIGHT.value,
            micro_batches=_MICRO_BATCHES.value,
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

    from benchmarks.steps import step_model

    batch = step_model.draw_batch(_IMAGES.value, _HEIGHT.value, _WIDTH.value)
    batch = tf.nest.map_structure(tf.constant, batch)

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
    from benchmarks.steps import step_model
    from data_pipelines.domains.domain import Pair
    from drsl_tf.evaluation.evaluator import Evaluator
    from drsl_tf.models.inference import Inference

    images, labels = step_model.draw_half(0, 0.1, (_IMAGES.value, _HEIGHT.value, _WIDTH.value))
    images, labels = images.astype("uint8"), labels.astype("uint8")
    domain = types.SimpleNamespace(
        read_image=lambda place: images[int(place)], read_label=lambda place: labels[int(place)]
    )
    places = [str(place) for place in range(len(images))]
    evaluator = Evaluator(model, strategy, Inference(batch_size=len(images)))

    def run(count):
        evaluator.evaluate(domain, count * [Pair(place, place, place) for place in places])

    return run


if __name__ == "__main__":
    cli.run_command(main)
