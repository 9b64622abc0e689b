"""Measures the cost of the check for non-finite values in a training step.

  python -m benchmarks.guard_cost --steps=20 --repetitions=7

Two compiled steps of one model are timed in turn. One passes all loss terms and the gradient's norm
to the guard, which checks them every ten steps as in training. The other returns only the loss, so
that TensorFlow prunes the norm from the graph, and reads it every ten steps. The output is JSON.
"""

from __future__ import annotations

import json
import time

import numpy as np
from absl import flags

from data_pipelines import cli

_STEPS = flags.DEFINE_integer("steps", 20, "Steps per repetition; a multiple of 10.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 7, "Repetitions of each step.")
_NETWORK = flags.DEFINE_enum(
    "network", "efficientnet_lite0", ["efficientnet_lite0", "small_cnn"], "Which."
)
_HEIGHT = flags.DEFINE_integer("height", 176, "Height of the images.")
_WIDTH = flags.DEFINE_integer("width", 240, "Width of the images.")
_IMAGES = flags.DEFINE_integer("images", 2, "Images of each domain in a batch.")
_NUM_CLASSES = 19
_LOOK_EVERY = 10


def main() -> None:
    """Measures and prints the result."""
    import keras
    import tensorflow as tf

    from drsl_tf.models.model import DrslModel
    from drsl_tf.networks import backbones
    from drsl_tf.networks.heads.linear_head import LinearHead
    from drsl_tf.networks.heads.multimodal_head import MultimodalHead
    from drsl_tf.training.number_guard import NumberGuard

    keras.utils.set_random_seed(0)
    model = DrslModel(
        getattr(backbones, _NETWORK.value)(),
        LinearHead(_NUM_CLASSES),
        MultimodalHead(_NUM_CLASSES, 3),
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-4), jit_compile=False)
    generator = np.random.default_rng(0)
    shape = (_IMAGES.value, _HEIGHT.value, _WIDTH.value)

    def draw():
        image = tf.constant(generator.uniform(0, 255, (*shape, 3)), tf.float32)
        return {"image": image, "label": tf.constant(generator.integers(0, _NUM_CLASSES, shape))}

    batch = tf.nest.map_structure(
        lambda x: tf.cast(x, tf.int32) if x.dtype == tf.int64 else x,
        {"source": draw(), "target": draw()},
    )
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
    pairs = []
    for repetition in range(_REPETITIONS.value):
        # Alternate which one is first.
        order = (run_guarded, run_plain) if repetition % 2 else (run_plain, run_guarded)
        seconds = {run: measure(run) for run in order}
        pairs.append((seconds[run_guarded], seconds[run_plain]))
    with_guard, without = np.array(pairs).T
    ratios = with_guard / without
    print(
        json.dumps(
            {
                "tensorflow": tf.__version__,
                "network": _NETWORK.value,
                "batch": [2 * shape[0], *shape[1:]],
                "steps": _STEPS.value,
                "repetitions": _REPETITIONS.value,
                "milliseconds_with": round(1e3 * float(np.median(with_guard)), 1),
                "milliseconds_without": round(1e3 * float(np.median(without)), 1),
                "ratio": round(float(np.median(ratios)), 4),
                "ratio_low": round(float(ratios.min()), 4),
                "ratio_high": round(float(ratios.max()), 4),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    cli.run_command(main)
