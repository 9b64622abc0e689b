"""From flags to a run: configuration on disk first, then everything else."""

from __future__ import annotations

import os
from typing import Sequence

from absl import logging

from data_pipelines.errors import UserError
from drsl_tf import files
from drsl_tf.configuration import Configuration
from drsl_tf.training import trainer


def launch(gin_files: Sequence[str], gin_params: Sequence[str], run_dir: str) -> None:
    """Runs an experiment and prints its scores.

    Args:
        gin_files: configuration files.
        gin_params: bindings that win over them.
        run_dir: where the run is written.

    Raises:
        UserError: when configuration or data cannot be used.
    """
    logging.set_verbosity(logging.INFO)
    configuration = Configuration(gin_files, gin_params)
    configuration.check_required(trainer.run, ["run_dir"])
    run = configuration.apply(trainer.run)
    try:
        os.makedirs(run_dir, exist_ok=True)
        files.write_text(
            os.path.join(run_dir, "config.gin"), configuration.format_record(trainer.run)
        )
    except OSError as error:
        raise UserError(
            f"The run directory {run_dir} cannot be written ({error}). Choose another by --run_dir."
        ) from error
    results = run(run_dir=run_dir)
    _print_summary(results, run_dir)


def _print_summary(results, run_dir):
    print(results.format_table())
    scores = [stage["miou"] for stage in results.stages]
    if scores[0] is not None and len(scores) > 1:
        print(f"\nTarget mIoU before adaptation: {scores[0]:.2f} %, after: {scores[-1]:.2f} %")
    figure = os.path.join(run_dir, "figure.png")
    if os.path.exists(figure):
        print(f"Figure:  {figure}")
    print(f"Results: {results.path}")
