"""Turns a run into a model to serve.

  python -m drsl_tf.export --run_dir=runs/demo --output=models/demo
  python -m drsl_tf.export --run_dir=runs/demo --output=demo.tflite --format=tflite_dynamic

A SavedModel takes images of any size and number, normalises them itself, and loads with plain
TensorFlow. docs/serving.md shows how to use it.
"""

from __future__ import annotations

from absl import flags

from data_pipelines import cli

flags.DEFINE_string("run_dir", None, "The run to export.")
flags.DEFINE_string("output", None, "The directory, or .tflite file, to write.")
_FORMAT = flags.DEFINE_enum(
    "format",
    "saved_model",
    ["saved_model", "tflite", "tflite_dynamic"],
    "What to write; tflite_dynamic stores weights in 8 bits.",
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "last",
    "'last'; 'source', before adaptation; 'best', which was chosen with target labels; or a name "
    "such as ckpt-12.",
)
_SIZE = flags.DEFINE_string(
    "size",
    "run",
    "HEIGHTxWIDTH at which the network sees every image; 'native' is each image's own, 'run' what "
    "the run was scored with.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    None,
    ["float32", "mixed_float16", "mixed_bfloat16"],
    "Arithmetic of the exported network; by default the run's, and float32 for TFLite.",
)


def main() -> None:
    """Exports the run."""
    run_dir, output = cli.require_flags("run_dir", "output")
    from drsl_tf.experiments import exporting  # TensorFlow takes seconds, --help must not.

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
