"""A finished run whose models a benchmark scores: flags of the commands, name, source stage."""

from __future__ import annotations

import os

from absl import flags

from data_pipelines.errors import UserError

RUNS = flags.DEFINE_list("runs", None, "Run directories.")
IMAGES = flags.DEFINE_integer(
    "images", 100, "Training images of the scores without labels; 0 is all."
)
OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder of the records.")


def name_run(run_dir: str) -> str:
    """Returns the last two folders of a run directory: the same run may lie below any root."""
    return "/".join(os.path.abspath(run_dir).split(os.sep)[-2:])


class FinishedRun:
    """A run with the model of its source stage.

    Attributes:
        experiment: its `Experiment`.
        strategy: that of the local devices.
        model: a `DrslModel`.
        checkpoint: path of the source stage's checkpoint.
        target: the target domain.
        pairs: the target's training images.
        eval_pairs: images of the evaluation split, which have labels.
        inference: the `Inference` of the experiment.
        evaluator: scores `model` with labels.

    Args:
        run_dir: the run's directory.

    Raises:
        UserError: the directory holds no such run, or its target has no labels.
    """

    def __init__(self, run_dir: str):
        import keras  # Imported late to keep --help fast.

        from drsl_tf.distribution.strategy import create_local_strategy
        from drsl_tf.evaluation.evaluator import Evaluator
        from drsl_tf.experiments import loaded_run

        keras.backend.clear_session()
        self.strategy = create_local_strategy()
        with self.strategy.scope():
            run = loaded_run.load_run(run_dir, "source")
        self.experiment = run.experiment
        self.model = run.model
        self.checkpoint = run.checkpoint
        self.target = run.experiment.get("data", "target")
        self.pairs = self.target.list_pairs(run.experiment.get("data", "target_split"))
        self.eval_pairs = self.target.list_pairs(run.experiment.get("data", "eval_split"))
        if self.eval_pairs[0].label_path is None:
            raise UserError(f"The target of {run_dir} has no labels to score with.")
        self.inference = run.experiment.get("inference")
        self.evaluator = Evaluator(self.model, self.strategy, self.inference)
