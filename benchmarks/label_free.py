"""Measures how well scores without labels choose between the models of finished runs.

  python -m benchmarks.label_free --runs=runs/demo,runs/mine

The candidates of a run are its source stage, its best and its last model, and the source stage and
the last model with the target's batch statistics. Each is scored on the target's training images,
without labels, and on the evaluation split, with them. Records are appended to label_free.jsonl; a
run that has records there is not measured again. The table is over all runs in --runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

if TYPE_CHECKING:
    from drsl_tf.models.model import DrslModel

_RUNS = flags.DEFINE_list("runs", None, "Run directories.")
_IMAGES = flags.DEFINE_integer("images", 100, "Number of training images; 0 is all.")
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder of the records.")

_COLUMNS = ("within", "overall", "regret", "worst_regret", "gain", "least_gain")


def main() -> None:
    """Measures the runs without records, and prints the table."""
    (runs,) = cli.require_flags("runs")
    path = os.path.join(_OUTPUT.value, "label_free.jsonl")
    print(compare_runs(runs, path, images=_IMAGES.value))


def compare_runs(run_dirs: Sequence[str], path: str, *, images: int = 100) -> str:
    """Measures the runs that have no records yet, and evaluates every score on all.

    Args:
        run_dirs: directories of finished runs whose target has labels.
        path: file of the records, to which lines are appended.
        images: number of training images; 0 is all.

    Returns:
        A Markdown table with a row for each score.

    Raises:
        UserError: a directory holds no such run.
    """
    from benchmarks import adaptation_report
    from benchmarks import adaptation_runs
    from benchmarks import label_free_scores

    file = adaptation_runs.RecordFile(path)
    runs = []
    for run_dir in run_dirs:
        name = _name(run_dir)
        found = [r for r in file.read() if (r["run"], r["images"]) == (name, images)]
        if not found:
            found = _measure(run_dir, images)
            for record in found:
                file.append(record)
                print(f"{name} {record['checkpoint']}: mIoU {record['miou']:.2f} %", flush=True)
        runs.append(found)
    results = label_free_scores.evaluate_scores(runs)
    rows = [[name, *(f"{row[key]:.2f}" for key in _COLUMNS)] for name, row in results.items()]
    return adaptation_report.format_rows(["score", *_COLUMNS], rows)


def _name(run_dir):
    """Returns the last two folders: the same run may lie below any root."""
    return "/".join(os.path.abspath(run_dir).split(os.sep)[-2:])


def _measure(run_dir: str, images: int) -> list[dict[str, Any]]:
    """Scores every candidate of a run, then compares their predictions."""
    import keras
    import numpy as np

    from benchmarks import label_free_scores
    from drsl_tf.distribution.strategy import create_local_strategy
    from drsl_tf.evaluation.evaluator import Evaluator
    from drsl_tf.experiments import loaded_run
    from drsl_tf.runs import results_schema
    from drsl_tf.runs import stored_weights
    from drsl_tf.runs.run_directory import RunDirectory
    from drsl_tf.self_training.label_free import LabelFreeScorer
    from drsl_tf.self_training.target_statistics import TargetStatistics

    keras.backend.clear_session()
    results = results_schema.read_results(RunDirectory(run_dir).results)
    if any(stage.miou is None for stage in results.stages):
        raise UserError(f"{run_dir} has no labels to compare with: its stages have no mIoU.")
    strategy = create_local_strategy()
    with strategy.scope():
        run = loaded_run.load_run(run_dir, "source")
    model: DrslModel = run.model
    target = run.experiment.get("data", "target")
    pairs = target.list_pairs(run.experiment.get("data", "target_split"))
    eval_pairs = target.list_pairs(run.experiment.get("data", "eval_split"))
    inference = run.experiment.get("inference")
    sizes = {"size": inference.size, "batch_size": inference.batch_size}
    scorer = LabelFreeScorer(model, strategy, images=images, **sizes)
    evaluator = Evaluator(model, strategy, **sizes)
    last = results.stages[-1].round
    best = results_schema.find_best_round(results.stages)
    candidates = [("source", 0, False), ("source", 0, True)]
    if best not in (0, last):
        candidates.append(("best", best, False))
    if last:
        candidates.append(("last", last, False))
        if run.experiment.get("self_training").target_statistics is None:
            candidates.append(("last", last, True))
    records: list[dict[str, Any]] = []
    maps: list[list[np.ndarray]] = []
    for checkpoint, round_index, takes_statistics in candidates:
        stored_weights.restore_weights(model, stored_weights.find_checkpoint(run_dir, checkpoint))
        if takes_statistics:
            TargetStatistics().update(model, strategy, target, pairs, **sizes)
        maps.append([])
        scores = scorer.score(
            target, pairs, on_prediction=lambda pair, ids, found=maps[-1]: found.append(ids)
        )
        confusion = evaluator.evaluate(target, eval_pairs)
        records.append(
            {
                "run": _name(run_dir),
                "checkpoint": checkpoint + "_statistics" * takes_statistics,
                "round": round_index,
                "images": images,
                "miou": 100.0 * confusion.mean_iou(),
                "label_free": scores.as_json(),
            }
        )
    classes = target.label_space.class_names
    count = len(classes)
    voted = [label_free_scores.vote(each, count) for each in zip(*maps)]
    for record, own in zip(records, maps):
        others = [label_free_scores.compare_maps(own, m, count) for m in maps if m is not own]
        stability = {
            "source": label_free_scores.compare_maps(own, maps[0], count),
            "others": np.mean(np.nan_to_num(others), axis=0),
            "vote": label_free_scores.compare_maps(own, voted, count),
        }
        record["stability"] = {
            key: {n: None if np.isnan(v) else float(v) for n, v in zip(classes, values)}
            for key, values in stability.items()
        }
    return records


if __name__ == "__main__":
    cli.run_command(main)
