"""Times the input pipeline in a separate process and prints a JSON object.

  python -m benchmarks.timing.pipeline_worker --root=data/streets/speed --repetitions=5

"pipeline_rates" and "decode_rates" are images per second, one number per repetition, measured in
turn: training batches with all augmentations, and reading the same images and labels with one
thread per core. "pipeline_milliseconds" and "decode_milliseconds" are the processor time of an
image, which other work on the machine changes less. "wait_share" is the fraction of a training run
in which the loop waits for data, absent with `--steps=0`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent import futures
from typing import Any

from absl import flags

from data_pipelines import cli

_ROOT = flags.DEFINE_string("root", None, "Folder of street scenes, rendered if absent.")
_HEIGHT = flags.DEFINE_integer("height", 128, "Height of the images.")
_WIDTH = flags.DEFINE_integer("width", 256, "Width of the images.")
_CROP_WIDTH = flags.DEFINE_integer("crop_width", None, "Width of the crops. Default: --width.")
_SCENES = flags.DEFINE_integer("scenes", 64, "Number of scenes.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 5, "Repetitions of each measurement.")
_STEPS = flags.DEFINE_integer("steps", 30, "Training steps over which waiting is measured.")
_NETWORK = flags.DEFINE_string("network", "small_cnn", "Name of a function of `backbones`.")
_BATCH = 4
_WARM_STEPS = 3
# Passes over the images per repetition, so that the pipeline's start has little weight.
_PASSES = 10


def main() -> None:
    """Measures and prints the result."""
    cli.require_flags("root")
    output, sys.stdout = sys.stdout, sys.stderr
    from data_pipelines.batches import training_batches
    from data_pipelines.batches.augment import Augmenter
    from data_pipelines.domains import cityscapes
    from data_pipelines.streets import rendered

    size = (_HEIGHT.value, _WIDTH.value)
    root = rendered.rendered_root(
        root=_ROOT.value,
        layout="cityscapes",
        style="camera",
        count=_SCENES.value,
        size=size,
        seed=8,
    )
    domain = cityscapes.Cityscapes(root=root)
    pairs = domain.list_pairs("train")
    crop_width = _CROP_WIDTH.value or _WIDTH.value
    stream = training_batches.Stream(
        pairs=pairs,
        read_image=domain.read_image,
        read_label=domain.read_label,
        augmenter=Augmenter(
            size=(_HEIGHT.value, crop_width),
            scale=(0.75, 1.5),
            brightness=0.15,
            contrast=(0.5, 1.5),
            saturation=(0.1, 1.2),
            hue=0.05,
            gamma=(0.6, 1.8),
        ),
        batch_size=_BATCH,
    )

    def run_pipeline():
        steps = max(1, _PASSES * len(pairs) // (2 * _BATCH))
        batches = training_batches.make_training_batches(
            stream, stream, steps=steps, seed=0, round_index=1
        )
        for _ in batches:
            pass
        return 2 * _BATCH * steps

    def read(pair):
        domain.read_image(pair.image_path)
        domain.read_label(pair.label_path)

    def run_decoding():
        with futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for _ in pool.map(read, _PASSES * pairs):
                pass
        return _PASSES * len(pairs)

    run_pipeline()
    found: dict[str, Any] = {}
    for repetition in range(_REPETITIONS.value):
        order = [("pipeline", run_pipeline), ("decode", run_decoding)]
        for name, run in order if repetition % 2 == 0 else reversed(order):
            began, used = time.perf_counter(), time.process_time()
            images = run()
            rate = images / (time.perf_counter() - began)
            milliseconds = 1000 * (time.process_time() - used) / images
            found.setdefault(f"{name}_rates", []).append(rate)
            found.setdefault(f"{name}_milliseconds", []).append(milliseconds)
    if _STEPS.value:
        found.update(_measure_waiting(stream))
    print(json.dumps(found), file=output)


def _measure_waiting(stream):
    """Runs the training loop and returns the fraction of time that it waits."""
    import keras

    from drsl_tf.distribution.strategy import create_strategy
    from drsl_tf.models.model import DrslModel
    from drsl_tf.networks import backbones
    from drsl_tf.networks.heads.linear_head import LinearHead
    from drsl_tf.networks.heads.multimodal_head import MultimodalHead
    from drsl_tf.training.loop import Stage
    from drsl_tf.training.loop import TrainingLoop
    from drsl_tf.training.preemption import Preemption

    class Recorder(keras.callbacks.Callback):
        """Records the loop's waiting time."""

        def __init__(self):
            super().__init__()
            self.waits, self.ends = [], []

        def on_train_batch_end(self, batch, logs=None):
            """Records a step."""
            self.waits.append(logs["data_wait_seconds"])
            self.ends.append(time.perf_counter())

    keras.utils.set_random_seed(0)
    strategy = create_strategy()
    with strategy.scope():
        model = DrslModel(getattr(backbones, _NETWORK.value)(), LinearHead(19), MultimodalHead(19))
        model.compile(optimizer=keras.optimizers.Adam(1e-4), jit_compile=False)
    recorder = Recorder()
    loop = TrainingLoop(model, strategy, [recorder], preemption=Preemption(), seed=0)
    steps = _WARM_STEPS + _STEPS.value
    for _ in loop.train(Stage(1, steps, stream, stream), 0, steps):
        pass
    whole = recorder.ends[-1] - recorder.ends[_WARM_STEPS - 1]
    waits = recorder.waits[_WARM_STEPS:]
    return {
        "wait_share": sum(waits) / whole,
        "seconds_a_step": whole / len(waits),
    }


if __name__ == "__main__":
    cli.run_command(main)
