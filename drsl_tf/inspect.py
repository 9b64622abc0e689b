"""Shows an experiment's data as the model receives it, before training.

  python -m drsl_tf.inspect demo.gin
  python -m drsl_tf.inspect mine.gin --gin_param="CROP = (256, 256)" --output=mine.png

Opens every file, prints images, sizes and pixels by class of source and target, and draws a contact
sheet: the first augmented images of both, labels in the palette's colours, and a legend. The later
run reuses the audit and the class counts.
"""

from __future__ import annotations

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError
from drsl_tf.runs.run_directory import RunDirectory

_GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], 'Additional binding, such as "CROP = (256, 256)"; overrides every file.'
)
_RUN_DIR = flags.DEFINE_string(
    "run_dir", None, "The --run_dir of the later training; default: its default."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Output PNG; default: inspection.png in the run directory."
)
_COUNT = flags.DEFINE_integer("count", 4, "Images of each domain to show.", lower_bound=1)


def main(gin_files: list[str]) -> None:
    """Inspects the data of a configuration."""
    if not gin_files:
        raise UserError("Name a configuration: python -m drsl_tf.inspect GIN_FILE ...")
    run_dir = _RUN_DIR.value or cli.name_run_dir(gin_files)
    path = _OUTPUT.value or RunDirectory(run_dir).inspection
    from drsl_tf.experiments import inspection  # Imported late to keep --help fast.

    print(
        inspection.inspect_experiment(
            gin_files, _GIN_PARAM.value, run_dir, path, count=_COUNT.value
        )
    )
    print(f"Contact sheet: {path}")


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main, takes_arguments=True)


if __name__ == "__main__":
    run()
