"""Scores a finished run's last model beyond its results.

  python -m benchmarks.score_run --run_dir=runs/demo --pseudo_labels=labels.json \
      --images=images.json

The first file describes labels of the target's training images at a fixed portion. Runs with
different thresholds label different portions, so their accuracies are not comparable. Here every
model labels the same portion of each predicted class, without a confidence floor, by the most
probable class. The second counts pixels in each validation image, for intervals over images. The
target's labels are only used for scoring.
"""

from __future__ import annotations

import os
import tempfile

from absl import flags

from data_pipelines import cli

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run.")
_PSEUDO_LABELS = flags.DEFINE_string("pseudo_labels", None, "Output JSON file.")
_IMAGES = flags.DEFINE_string("images", None, "Output JSON file, see `image_counts`.")
_PORTION = flags.DEFINE_float("portion", 0.5, "Portion of each predicted class to label.")


def main() -> None:
    """Predicts the target's training and validation images and writes the files."""
    cli.require_flags("run_dir", "pseudo_labels", "images")
    from benchmarks import image_counts
    from drsl_tf import files  # Imported late to keep --help fast.
    from drsl_tf.distribution.strategy import create_strategy
    from drsl_tf.evaluation.evaluator import Evaluator
    from drsl_tf.experiments import loaded_run
    from drsl_tf.self_training.rounds import PseudoLabeler

    run = loaded_run.load_run(_RUN_DIR.value)
    target = run.experiment.get("data", "target")
    inference = run.experiment.get("inference")
    strategy = create_strategy()
    sizes = {"size": inference.size, "batch_size": inference.batch_size}
    labeler = PseudoLabeler(portion=_PORTION.value, portion_limit=_PORTION.value, rule="argmax")
    with tempfile.TemporaryDirectory() as folder:
        _, report = labeler.generate(
            run.model,
            strategy,
            target,
            target.list_pairs("train"),
            round_index=1,
            directory=os.path.join(folder, "labels"),
            **sizes,
        )
    files.write_json(_PSEUDO_LABELS.value, report.as_json())
    counts = image_counts.count_images(
        Evaluator(run.model, strategy, **sizes),
        target,
        target.list_pairs(run.experiment.get("data", "eval_split")),
    )
    files.write_json(_IMAGES.value, counts)


if __name__ == "__main__":
    cli.run_command(main)
