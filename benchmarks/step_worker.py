"""Times training steps in a process of its own: reads a count a line, answers seconds a step.

  echo 5 | python -m benchmarks.step_worker --network=efficientnet_lite0 --modes=3

The first line says how many trainable numbers there are; the last one, after the end of input,
the process's peak memory in bytes. `--modes=0` trains by cross-entropy alone.
"""

from __future__ import annotations

import resource
import sys
import time

from absl import flags

from data_pipelines import cli

_NETWORK = flags.DEFINE_enum(
    "network", "efficientnet_lite0", ["efficientnet_lite0", "resnet101", "small_cnn"], "Which."
)
_MODES = flags.DEFINE_integer("modes", 0, "Modes a class; 0 is self-training by cross-entropy.")
_HEIGHT = flags.DEFINE_integer("height", 176, "Height of the images.")
_WIDTH = flags.DEFINE_integer("width", 240, "Width of the images.")
_IMAGES = flags.DEFINE_integer("images", 4, "Images of each domain in a batch.")
_NUM_CLASSES = 19


def main() -> None:
    """Builds the model and serves until the end of input."""
    import keras
    import tensorflow as tf

    from drsl_tf import compat
    from drsl_tf.model import DrslModel
    from drsl_tf.networks import backbones
    from drsl_tf.networks import resnet
    from drsl_tf.networks.deeplab_v2_head import DeepLabV2Head
    from drsl_tf.networks.multimodal_head import MultimodalHead
    from drsl_tf.networks.segmentation_heads import LinearHead
    from drsl_tf.training.strategy import create_strategy

    keras.utils.set_random_seed(0)
    strategy = create_strategy()
    with strategy.scope():
        if _NETWORK.value == "resnet101":
            base = resnet.resnet101(freeze_batch_norm=False)
            head = DeepLabV2Head(_NUM_CLASSES)
        else:
            base = getattr(backbones, _NETWORK.value)()
            head = LinearHead(_NUM_CLASSES)
        modes = MultimodalHead(_NUM_CLASSES, _MODES.value) if _MODES.value else None
        model = DrslModel(base, head, modes)
        model.compile(optimizer=keras.optimizers.Adam(1e-4), jit_compile=False)
    batch = _make_batch(tf)

    @tf.function
    def train():
        return strategy.run(model.train_step, args=(batch,))["loss"]

    def run(count):
        began = time.perf_counter()
        for _ in range(count):
            loss = train()
        float(strategy.experimental_local_results(loss)[0])
        return (time.perf_counter() - began) / count

    run(2)
    size = sum(
        compat.as_tf_variable(variable).shape.num_elements()
        for variable in model.trainable_variables
    )
    print(size, flush=True)
    for line in sys.stdin:
        print(run(int(line)), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def _make_batch(tf):
    """Makes noise with labels in blocks; half of the target's pixels have none."""
    import numpy as np

    generator = np.random.default_rng(0)
    size = (_IMAGES.value, _HEIGHT.value, _WIDTH.value)

    def draw(ignored):
        shape = (size[0], -(-size[1] // 16), -(-size[2] // 16))
        blocks = generator.integers(0, _NUM_CLASSES, shape)
        blocks[generator.random(shape) < ignored] = 255
        label = blocks.repeat(16, axis=1).repeat(16, axis=2)[:, : size[1], : size[2]]
        image = generator.uniform(0, 255, (*size, 3))
        return {"image": tf.constant(image, tf.float32), "label": tf.constant(label, tf.int32)}

    return {"source": draw(0.1), "target": draw(0.5)}


if __name__ == "__main__":
    cli.run_command(main)
