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
from typing import Any

from absl import flags

from benchmarks.selection import finished_run
from data_pipelines import cli

flags.adopt_module_key_flags(finished_run)

_COLUMNS = ("within", "overall", "regret", "worst_regret", "gain", "least_gain")


def main() -> None:
    """Measures the runs without records, and prints the table."""
    (runs,) = cli.require_flags("runs")
    path = os.path.join(finished_run.OUTPUT.value, "label_free.jsonl")
    print(compare_runs(runs, path, images=finished_run.IMAGES.value))


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
    from benchmarks.comparison import adaptation_runs
    from benchmarks.comparison import tables
    from benchmarks.selection import label_free_scores

    file = adaptation_runs.RecordFile(path)
    runs = []
    for run_dir in run_dirs:
        name = finished_run.name_run(run_dir)
        found = [r for r in file.read() if (r["run"], r["images"]) == (name, images)]
        if not found:
            found = _measure(run_dir, images)
            file.append(*found)
            for record in found:
                print(f"{name} {record['checkpoint']}: mIoU {record['miou']:.2f} %", flush=True)
        runs.append(found)
    results = label_free_scores.evaluate_scores(runs)
    rows = [[name, *(f"{row[key]:.2f}" for key in _COLUMNS)] for name, row in results.items()]
    return tables.format_rows(["score", *_COLUMNS], rows)


def _measure(run_dir: str, images: int) -> list[dict[str, Any]]:
    """Scores every candidate of a run, then compares their predictions."""
    import numpy as np

    from benchmarks.selection import label_free_scores
    from drsl_tf.runs import results_schema
    from drsl_tf.runs import stored_weights
    from drsl_tf.runs.run_directory import RunDirectory
    from drsl_tf.self_training.label_free import LabelFreeScorer
    from drsl_tf.self_training.target_statistics import TargetStatistics

    run = finished_run.FinishedRun(run_dir)
    model, target, pairs = run.model, run.target, run.pairs
    results = results_schema.read_results(RunDirectory(run_dir).results)
    scorer = LabelFreeScorer(model, run.strategy, run.inference, images=images)
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
            TargetStatistics().update(model, run.strategy, target, pairs, run.inference)
        maps.append([])
        scores = scorer.score(
            target, pairs, on_prediction=lambda pair, ids, found=maps[-1]: found.append(ids)
        )
        confusion = run.evaluator.evaluate(target, run.eval_pairs)
        records.append(
            {
                "run": finished_run.name_run(run_dir),
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
