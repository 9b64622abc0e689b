"""Labels images with an exported model.

  python -m drsl_tf.predict --model=models/demo --input=photos --output=labelled
  python -m drsl_tf.predict --model=models/demo --input='photos/**/*.jpg' --output=labelled \
      --what=ids,color,overlay,confidence

An input is a file, a folder with its sub-folders, or a glob; outputs are OUTPUT/KIND/NAME.png
under the names of the inputs. Predictions that are there under these names are replaced, other
files are left. Files that cannot be read are named and skipped; the exit code is then 3.
"""

from __future__ import annotations

import os
import sys

from absl import flags

from data_pipelines import cli

flags.DEFINE_string("model", None, "The SavedModel, .tflite or .onnx file of drsl_tf.export.")
flags.DEFINE_multi_string(
    "input",
    None,
    "Image or video file, folder, or glob; several with commas between them, or the flag repeated.",
)
flags.DEFINE_string("output", None, "Output folder.")
_WHAT = flags.DEFINE_list("what", ["ids"], "Outputs: any of ids, color, overlay, confidence.")
_FORMAT = flags.DEFINE_enum(
    "format",
    "png",
    ["png", "cityscapes"],
    "'cityscapes' writes ids as the labelIds that its evaluation server takes.",
)
_IDS = flags.DEFINE_enum(
    "ids",
    "class",
    ["class", "native"],
    "'native' writes the ids that the label files of the model's run contain, such as those of "
    "ID_TABLE or Cityscapes' labelIds, in the place of class ids.",
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Maximum number of images per batch.")
_TILE = flags.DEFINE_string(
    "tile", "1024x2048", "HEIGHTxWIDTH above which an image is predicted in tiles; or 'none'."
)
_OVERLAP = flags.DEFINE_integer("overlap", 128, "Overlap of neighbouring tiles in pixels.")
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", 64_000_000, "Larger images are skipped.")

_MAX_VALUE = flags.DEFINE_integer(
    "max_value",
    None,
    "The value of images of more than 8 bits that is white, such as 4095 for 12 bits in 16.",
)


def main() -> int:
    """Predicts the inputs; returns the exit code."""
    model, inputs, output = cli.require_flags("model", "input", "output")
    from drsl_tf.serving import folder_prediction  # Imported late to keep --help fast.

    skipped = folder_prediction.predict_files(
        model,
        _split_inputs(inputs),
        output,
        kinds=_WHAT.value,
        format_name=_FORMAT.value,
        ids=_IDS.value,
        batch_size=_BATCH_SIZE.value,
        tile=cli.parse_size(_TILE.value, otherwise="none"),
        overlap=_OVERLAP.value,
        max_pixels=_MAX_PIXELS.value,
        max_value=_MAX_VALUE.value,
    )
    for path, reason in skipped.items():
        print(f"skipped: {path} {reason}", file=sys.stderr)
    return cli.EXIT_SKIPPED if skipped else 0


def _split_inputs(values):
    """Splits inputs at commas, except those that are a path as they are."""
    return [
        part
        for value in values
        for part in ([value] if os.path.exists(value) else value.split(","))
        if part
    ]


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main)


if __name__ == "__main__":
    run()
