"""Measures the cost of the check for non-finite values in a training step.

  python -m benchmarks.guard_cost --steps=20 --repetitions=7

Two compiled steps of one model are timed in turn. One passes all loss terms and the gradient's norm
to the guard, which checks them every ten steps as in training. The other returns only the loss, so
that TensorFlow prunes the norm from the graph, and reads it every ten steps. The output is JSON.
"""

from __future__ import annotations

import json
import time

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

_STEPS = flags.DEFINE_integer("steps", 20, "Steps per repetition; a multiple of 10.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 7, "Repetitions of each step.")
_NETWORK = flags.DEFINE_enum(
    "network", "efficientnet_lite0", ["efficientnet_lite0", "small_cnn"], "Network to measure."
)
_HEIGHT = flags.DEFINE_integer("height", 176, "Height of the images.")
_WIDTH = flags.DEFINE_integer("width", 240, "Width of the images.")
_IMAGES = flags.DEFINE_integer("images", 2, "Images of each domain in a batch.")
_LOOK_EVERY = 10


def main() -> None:
    """Measures and prints the result."""
    if _STEPS.value < 1 or _STEPS.value % _LOOK_EVERY:
        raise UserError(f"--steps={_STEPS.value} must be a multiple of {_LOOK_EVERY}.")
    import statistics

    import keras
    import tensorflow as tf

    from benchmarks.steps import step_model
    from benchmarks.timing import ratios
    from drsl_tf.training.number_guard import NumberGuard

    keras.utils.set_random_seed(0)
    model = step_model.build_model(_NETWORK.value, 3)
    size = (_IMAGES.value, _HEIGHT.value, _WIDTH.value)
    batch = tf.nest.map_structure(tf.constant, step_model.draw_batch(*size))
    guarded = tf.function(lambda: tf.stack(list(model.train_step(batch).values())))
    plain = tf.function(lambda: model.train_step(batch)["loss"])
    guard = NumberGuard()

    def run_guarded(step):
        guard.add(step, guarded())
        if (step + 1) % _LOOK_EVERY == 0:
            guard.find()

    def run_plain(step):
        loss = plain()
        if (step + 1) % _LOOK_EVERY == 0:
            float(loss)

    def measure(run):
        began = time.perf_counter()
        for step in range(_STEPS.value):
            run(step)
        return (time.perf_counter() - began) / _STEPS.value

    for run in (run_guarded, run_plain):
        measure(run)
    measures = {"with": lambda: measure(run_guarded), "without": lambda: measure(run_plain)}
    seconds = ratios.measure_in_turn(measures, _REPETITIONS.value, "guard")
    print(
        json.dumps(
            {
                "tensorflow": tf.__version__,
                "network": _NETWORK.value,
                "batch": [2 * size[0], *size[1:]],
                "steps": _STEPS.value,
                **{f"milliseconds_{k}": 1e3 * statistics.median(v) for k, v in seconds.items()},
                "ratio": ratios.summarise(seconds["with"], seconds["without"]),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    cli.run_command(main)
