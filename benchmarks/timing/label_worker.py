"""Times pseudo-labelling in a separate process and prints a JSON object.

  python -m benchmarks.timing.label_worker --images=100 --root=data/streets/speed --repetitions=5

"label_seconds" and "bare_seconds" hold one number per repetition, measured in turn; bare
inference reads the same images and computes each pixel's confidence and class. "peak_bytes" is the
process's. `--repetitions=0` labels once and measures only memory.

"host_milliseconds" is what an image takes of the processor, in one thread, for work that is not
done on a GPU, a number per repetition: reading it, counting its confidences, writing its label as a
PNG. "flush" is no processor time but waiting for the disk, which joins the labels of all images.
The labels are the scenes' true ones; "label_bytes" is the mean size of a PNG.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
import tempfile
import time
from typing import Any

from absl import flags

from data_pipelines import cli

_IMAGES = flags.DEFINE_integer("images", 100, "Images to label.")
_ROOT = flags.DEFINE_string("root", None, "Folder of street scenes, rendered if absent.")
_HEIGHT = flags.DEFINE_integer("height", 128, "Height of the images.")
_WIDTH = flags.DEFINE_integer("width", 256, "Width of the images.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 0, "Repetitions of each measurement.")
_NETWORK = flags.DEFINE_string("network", "small_cnn", "Name of a function of `backbones`.")
_SCENES = 20
_BATCH = 4


def main() -> None:
    """Measures and prints the result."""
    cli.require_flags("root")
    # Libraries print to standard output, which must hold only the JSON object.
    output, sys.stdout = sys.stdout, sys.stderr
    import keras

    from data_pipelines.domains import cityscapes
    from data_pipelines.domains.domain import Pair
    from data_pipelines.streets import rendered
    from drsl_tf.distribution.strategy import create_strategy
    from drsl_tf.models.inference import Inference
    from drsl_tf.models.model import DrslModel
    from drsl_tf.networks import backbones
    from drsl_tf.networks.heads.linear_head import LinearHead
    from drsl_tf.self_training.pseudo_labeler import PseudoLabeler

    keras.utils.set_random_seed(0)
    root = rendered.rendered_root(
        root=_ROOT.value,
        layout="cityscapes",
        style="camera",
        count=_SCENES,
        size=(_HEIGHT.value, _WIDTH.value),
        seed=7,
    )
    domain = cityscapes.Cityscapes(root=root)
    scenes = itertools.cycle(domain.list_pairs("train"))
    # Distinct names of few files: the content does not matter.
    pairs = [Pair(f"{index:06d}", next(scenes).image_path, None) for index in range(_IMAGES.value)]
    strategy = create_strategy()
    with strategy.scope():
        model = DrslModel(getattr(backbones, _NETWORK.value)(), LinearHead(19))

    def label():
        with tempfile.TemporaryDirectory() as folder:
            PseudoLabeler().generate(
                model,
                strategy,
                domain,
                pairs,
                round_index=1,
                directory=os.path.join(folder, "labels"),
                inference=Inference(batch_size=_BATCH),
            )

    def infer():
        _infer(model, strategy, domain, pairs)

    def measure(function):
        began = time.perf_counter()
        function()
        return time.perf_counter() - began

    found: dict[str, Any] = {"label_seconds": [], "bare_seconds": [], "host_milliseconds": {}}
    if not _REPETITIONS.value:
        label()
    for repetition in range(_REPETITIONS.value):
        order = [("label_seconds", label), ("bare_seconds", infer)]
        for name, function in order if repetition % 2 == 0 else reversed(order):
            found[name].append(measure(function))
        host, found["label_bytes"] = _measure_host(domain)
        for name, milliseconds in host.items():
            found["host_milliseconds"].setdefault(name, []).append(milliseconds)
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(found), file=output)


def _infer(model, strategy, domain, pairs):
    import tensorflow as tf

    from data_pipelines.batches import whole_images as image_batches
    from drsl_tf.distribution.replicated import ReplicatedFunction
    from drsl_tf.models import inference

    def predict(images):
        probabilities = tf.nn.softmax(inference.predict_full_size_logits(model, images))
        return tf.reduce_max(probabilities, -1), tf.argmax(probabilities, -1, tf.int32)

    run = ReplicatedFunction(predict, strategy)
    for batch in image_batches.iterate_image_batches(pairs, domain.read_image, batch_size=_BATCH):
        run(batch.images)


def _measure_host(domain):
    """Returns milliseconds of one thread per image, by part of the work, and a label's bytes."""
    import numpy as np
    from PIL import Image

    from data_pipelines.io import whole_files
    from data_pipelines.labels.label_spaces import IGNORE_ID
    from drsl_tf.self_training.thresholds import ConfidenceHistogram

    pairs = domain.list_pairs("train")
    labels = [domain.read_label(pair.label_path) for pair in pairs]
    # As in a trained network, from uncertain to saturated.
    confidence = -np.expm1(-np.random.default_rng(0).gamma(2.0, 6.0, labels[0].shape))
    histogram = ConfidenceHistogram(domain.label_space.num_classes)
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, f"{index}.png") for index in range(len(pairs))]

        def read():
            for pair in pairs:
                domain.read_image(pair.image_path)

        def count():
            for label in labels:
                histogram.update(confidence, np.where(label == IGNORE_ID, 0, label))

        def write():
            for label, path in zip(labels, paths):
                Image.fromarray(label).save(path)

        def flush():
            whole_files.sync_all(paths)

        found = {}
        for function in (read, count, write, flush):
            clock = time.perf_counter if function is flush else time.thread_time
            began = clock()
            function()
            found[function.__name__] = 1000 * (clock() - began) / len(pairs)
        sizes = [os.path.getsize(path) for path in paths]
    return found, sum(sizes) / len(sizes)


if __name__ == "__main__":
    cli.run_command(main)
