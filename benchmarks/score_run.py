"""Scores the last model of a finished run, or the selected one, beyond the run's results.

  python -m benchmarks.score_run --run_dir=runs/demo --pseudo_labels=labels.json \
      --images=images.json
  python -m benchmarks.score_run --run_dir=runs/mine --pseudo_labels=labels.json \
      --images=images.json --choice=choice.json

The first file describes labels of the target's training images at a fixed portion. Runs with
different thresholds label different portions, so their accuracies are not comparable. Here every
model labels the same portion of each predicted class, without a confidence floor, by the most
probable class. The second counts pixels in each validation image, for intervals over images. The
third, if given, compares the model that the run selected without labels with the one of highest
mIoU; the other two then describe the selected model. The target's labels are only used for scoring.
"""

from __future__ import annotations

import os
import tempfile

from absl import flags

from data_pipelines import cli

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run.")
_PSEUDO_LABELS = flags.DEFINE_string("pseudo_labels", None, "Output JSON file.")
_IMAGES = flags.DEFINE_string("images", None, "Output JSON file, see `image_counts`.")
_CHOICE = flags.DEFINE_string(
    "choice", None, "Output JSON file, see `selection_regret`; scores the selected model."
)
_PORTION = 0.5


def main() -> None:
    """Predicts the target's training and validation images and writes the files."""
    cli.require_flags("run_dir", "pseudo_labels", "images")
    from benchmarks.comparison import image_counts
    from benchmarks.selection import selection_regret
    from drsl_tf import files  # Imported late to keep --help fast.
    from drsl_tf.distribution.strategy import create_strategy
    from drsl_tf.evaluation.evaluator import Evaluator
    from drsl_tf.experiments import loaded_run
    from drsl_tf.runs import results_schema
    from drsl_tf.runs import stored_weights
    from drsl_tf.runs.run_directory import RunDirectory
    from drsl_tf.self_training.pseudo_labeler import PseudoLabeler

    run = loaded_run.load_run(_RUN_DIR.value, "selected" if _CHOICE.value else "last")
    target = run.experiment.get("data", "target")
    inference = run.experiment.get("inference")
    strategy = create_strategy()
    evaluator = Evaluator(run.model, strategy, inference)
    pairs = target.list_pairs(run.experiment.get("data", "target_split"))
    eval_pairs = target.list_pairs(run.experiment.get("data", "eval_split"))
    labeler = PseudoLabeler(portion=_PORTION, portion_limit=_PORTION, rule="argmax")
    with tempfile.TemporaryDirectory() as folder:
        _, report = labeler.generate(
            run.model,
            strategy,
            target,
            pairs,
            round_index=1,
            directory=os.path.join(folder, "labels"),
            inference=inference,
        )
    files.write_json(_PSEUDO_LABELS.value, report.as_json())
    files.write_json(_IMAGES.value, image_counts.count_images(evaluator, target, eval_pairs))
    if _CHOICE.value:
        stages = results_schema.read_results(RunDirectory(_RUN_DIR.value).results).stages
        miou = None
        if stages[0].label_free_with_statistics is not None:
            # The run scored this candidate without labels only.
            source = stored_weights.find_checkpoint(_RUN_DIR.value, "source")
            stored_weights.restore_weights(run.model, source)
            statistics = run.experiment.get("self_training").target_statistics
            statistics.update(run.model, strategy, target, pairs, inference)
            miou = 100.0 * evaluator.evaluate(target, eval_pairs).mean_iou()
        files.write_json(_CHOICE.value, selection_regret.compare_choice(stages, miou))


if __name__ == "__main__":
    cli.run_command(main)
