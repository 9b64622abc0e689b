"""Times the prediction of a folder in a separate process and prints a JSON object.

  python -m benchmarks.timing.predict_worker --images=500 --root=data/streets/speed --repetitions=3

"folder_rates" and "bare_rates" hold images per second, one number per repetition, measured in
turn. The bare model predicts the same images, decoded before, in the same batches, and writes
nothing. The photos have four sizes, in a random order.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time

from absl import flags

from data_pipelines import cli

_IMAGES = flags.DEFINE_integer("images", 500, "Photos to predict.")
_ROOT = flags.DEFINE_string("root", None, "Folder of street scenes, rendered if absent.")
_LONG_SIDE = flags.DEFINE_integer("long_side", 640, "Longest side of the photos in pixels.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 3, "Repetitions of each measurement.")
_NETWORK = flags.DEFINE_string("network", "efficientnet_lite0", "Name in `networks.NAMES`.")
_SCENES = 20
_BATCH = 4
_ASPECTS = ((0.75, 1.0), (1.0, 0.75), (0.5625, 1.0), (0.667, 1.0))


def main() -> None:
    """Measures and prints the result."""
    cli.require_flags("root")
    # Libraries print to standard output, which must hold only the JSON object.
    output, sys.stdout = sys.stdout, sys.stderr
    import keras
    import numpy as np

    from benchmarks.steps import networks
    from benchmarks.timing import ratios
    from data_pipelines.io import decoding
    from data_pipelines.labels import label_spaces
    from drsl_tf.models.model import DrslModel
    from drsl_tf.serving import folder_prediction
    from drsl_tf.serving import input_files
    from drsl_tf.serving import saved_models
    from drsl_tf.serving.model_description import ModelDescription
    from drsl_tf.serving.predictor import Predictor

    keras.utils.set_random_seed(0)
    space = label_spaces.cityscapes19()
    model = DrslModel(*networks.build_parts(_NETWORK.value, space.num_classes))
    with tempfile.TemporaryDirectory() as folder:
        exported, photos = os.path.join(folder, "model"), os.path.join(folder, "photos")
        saved_models.export_saved_model(model, ModelDescription(label_space=space), exported)
        _write_photos(photos)
        predictor = Predictor(exported)
        inputs = input_files.find_inputs(photos)
        frames = input_files.read_frames(inputs, decoding.MAX_PIXELS, skipped={})
        batches = [
            np.stack([frame.image for frame in group])
            for group in input_files.group_frames(frames, _BATCH)
        ]
        numbers = itertools.count()

        def predict_folder():
            out = os.path.join(folder, f"predictions_{next(numbers)}")
            began = time.perf_counter()
            folder_prediction.predict_files(exported, photos, out, batch_size=_BATCH)
            return _IMAGES.value / (time.perf_counter() - began)

        def predict_bare():
            began = time.perf_counter()
            for images in batches:
                predictor.predict(images)
            return _IMAGES.value / (time.perf_counter() - began)

        predict_bare()
        rates = ratios.measure_in_turn(
            {"folder_rates": predict_folder, "bare_rates": predict_bare},
            _REPETITIONS.value,
            "prediction",
        )
    print(json.dumps(rates), file=output)


def _write_photos(folder):
    import numpy as np
    from PIL import Image

    from data_pipelines.domains import cityscapes
    from data_pipelines.streets import rendered

    root = rendered.rendered_root(
        root=_ROOT.value,
        layout="cityscapes",
        style="camera",
        count=_SCENES,
        size=(_LONG_SIDE.value // 2, _LONG_SIDE.value),
        seed=7,
    )
    domain = cityscapes.Cityscapes(root=root)
    scenes = [Image.open(pair.image_path) for pair in domain.list_pairs("train")]
    os.makedirs(folder)
    generator = np.random.default_rng(0)
    for index in range(_IMAGES.value):
        aspect = _ASPECTS[generator.integers(len(_ASPECTS))]
        height, width = (round(_LONG_SIDE.value * part) for part in aspect)
        photo = scenes[index % len(scenes)].resize((width, height))
        photo.save(os.path.join(folder, f"{index:06d}.jpg"), quality=92)


if __name__ == "__main__":
    cli.run_command(main)
