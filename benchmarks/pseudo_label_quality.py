"""Scores the pseudo-labels of a finished run's last model at a fixed portion.

  python -m benchmarks.pseudo_label_quality --run_dir=runs/demo --output=quality.json

Runs with different thresholds label different portions, so their accuracies are not comparable.
Here every model labels the same portion of each predicted class, without a confidence floor, by the
most probable class. The target's labels are only used for scoring.
"""

from __future__ import annotations

import os
import tempfile

from absl import flags

from data_pipelines import cli

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run.")
_OUTPUT = flags.DEFINE_string("output", None, "Output JSON file.")
_PORTION = flags.DEFINE_float("portion", 0.5, "Portion of each predicted class to label.")


def main() -> None:
    """Labels the target's training images and writes the report."""
    cli.require_flags("run_dir", "output")
    from drsl_tf import files  # Imported late to keep --help fast.
    from drsl_tf.distribution.strategy import create_strategy
    from drsl_tf.experiments import loaded_run
    from drsl_tf.self_training.rounds import PseudoLabeler

    run = loaded_run.load_run(_RUN_DIR.value)
    target = run.experiment.get("data", "target")
    labeler = PseudoLabeler(portion=_PORTION.value, portion_limit=_PORTION.value, rule="argmax")
    with tempfile.TemporaryDirectory() as folder:
        _, report = labeler.generate(
            run.model,
            create_strategy(),
            target,
            target.list_pairs("train"),
            round_index=1,
            directory=os.path.join(folder, "labels"),
            size=run.experiment.get("inference").size,
            batch_size=run.experiment.get("inference").batch_size,
        )
    files.write_json(_OUTPUT.value, report.as_json())


if __name__ == "__main__":
    cli.run_command(main)
