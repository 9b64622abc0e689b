"""Trains a segmentation model on a labelled source and adapts it to an unlabelled target.

  python -m drsl_tf.train --gin_file=gin_configs/demo.gin
  python -m drsl_tf.train --gin_file=gin_configs/synthia2cs.gin --run_dir=runs/first
  python -m drsl_tf.train --gin_file=demo.gin --gin_param="SOURCE_STEPS = 20"
  python -m drsl_tf.train --gin_file=gta2cs.gin --gin_file=recipes/memory_24gb.gin

The run directory contains config.gin, results.json, pseudo_labels/, checkpoints/ and figure.png.
The same command, run again, resumes the run; --fresh starts over instead.
"""

from __future__ import annotations

from absl import flags

from data_pipelines import cli
from drsl_tf.training.preemption import Preemption

flags.DEFINE_multi_string(
    "gin_file",
    None,
    "Configuration: a path, or the name of a file in gin_configs/; later ones override.",
)
_GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], 'Additional binding, such as "SOURCE_STEPS = 20"; overrides every file.'
)
_RUN_DIR = flags.DEFINE_string(
    "run_dir",
    None,
    "Directory of the run; default: runs/NAME for NAME.gin, runs/NAME-OTHER for two files.",
)
_FRESH = flags.DEFINE_bool("fresh", False, "Start over: an existing run is moved to RUN_DIR.old-N.")


def main() -> None:
    """Reads the configuration and runs the experiment."""
    (gin_files,) = cli.require_flags("gin_file")
    with Preemption():
        from drsl_tf.experiments import launcher  # Imported late to keep --help fast.

        launcher.launch(gin_files, _GIN_PARAM.value, _RUN_DIR.value, fresh=_FRESH.value)


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main)


if __name__ == "__main__":
    run()
