"""Exports a run's model for serving.

  python -m drsl_tf.export --run_dir=runs/demo --output=models/demo
  python -m drsl_tf.export --run_dir=runs/demo --output=demo.tflite --format=tflite_dynamic
  python -m drsl_tf.export --run_dir=runs/demo --output=demo.onnx --format=onnx

A SavedModel accepts images of any size and number, includes their normalisation, and needs only
TensorFlow. docs/serving.md shows how to use it.
"""

from __future__ import annotations

from absl import flags

from data_pipelines import cli

flags.DEFINE_string("run_dir", None, "The run to export.")
flags.DEFINE_string("output", None, "Output directory, or .tflite or .onnx file.")
_FORMAT = flags.DEFINE_enum(
    "format",
    "saved_model",
    ["saved_model", "tflite", "tflite_dynamic", "onnx"],
    "Output format; tflite_dynamic stores weights in 8 bits.",
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "last",
    "'last'; 'source', before adaptation; 'best', which was chosen with target labels; 'selected', "
    "without them; or a name such as ckpt-12.",
)
_SIZE = flags.DEFINE_string(
    "size",
    "run",
    "Input size of the network, HEIGHTxWIDTH; 'native' is each image's own size, 'run' the size "
    "at which the run was scored.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    None,
    ["float32", "mixed_float16", "mixed_bfloat16"],
    "Precision of the exported network; default: the run's, and float32 for TFLite and ONNX.",
)


def main() -> None:
    """Exports the run."""
    run_dir, output = cli.require_flags("run_dir", "output")
    from drsl_tf.experiments import exporting  # Imported late to keep --help fast.

    exporting.export_run(
        run_dir,
        output,
        format_name=_FORMAT.value,
        checkpoint=_CHECKPOINT.value,
        size=_SIZE.value,
        precision=_PRECISION.value,
    )


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main)


if __name__ == "__main__":
    run()
