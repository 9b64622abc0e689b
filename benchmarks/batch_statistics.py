"""Scores the source stages of finished runs with the target's batch statistics.

  python -m benchmarks.batch_statistics --runs=runs/demo_statistics
  python -m benchmarks.batch_statistics --runs=runs/demo_statistics --parts

The statistics of up to 200 training images are mixed with the source's, which count as N images:
0 are the target's alone, inf the source's. The first command scores each N on the evaluation split
and, without labels, on the training images. With --parts every other image is at dusk (`dusk`):
statistics of all images are compared with those of each part for the images of that part. Nothing
is trained. Records are appended to batch_statistics.jsonl; what has a record is not measured again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from absl import flags

from benchmarks.selection import finished_run
from data_pipelines import cli
from data_pipelines.errors import UserError

if TYPE_CHECKING:
    from benchmarks.comparison.adaptation_runs import RecordFile

flags.adopt_module_key_flags(finished_run)
_PRIORS = flags.DEFINE_list("priors", ["0", "10", "100", "1000", "inf"], "Values of N.")
_PARTS = flags.DEFINE_bool("parts", False, "Measure a target of which half is at dusk.")


def main() -> None:
    """Measures what has no record, and prints a table of each run."""
    (runs,) = cli.require_flags("runs")
    path = os.path.join(finished_run.OUTPUT.value, "batch_statistics.jsonl")
    priors = parse_priors(_PRIORS.value)
    for run_dir in runs:
        images = finished_run.IMAGES.value
        print(measure_run(run_dir, priors, path, images=images, parts=_PARTS.value))


def parse_priors(texts: Sequence[str]) -> list[float]:
    """Reads values of N.

    Args:
        texts: integers of at least 0, or "inf".

    Returns:
        The values.

    Raises:
        UserError: a text is none of them.
    """
    for text in texts:
        if text != "inf" and not text.isdecimal():
            raise UserError(f'--priors names {text!r}; use integers of at least 0, or "inf".')
    return [float(text) for text in texts]


def measure_run(
    run_dir: str, priors: Sequence[float], path: str, *, images: int = 100, parts: bool = False
) -> str:
    """Scores the source stage of a run with every N.

    Args:
        run_dir: directory of a finished run whose target has labels.
        priors: values of N.
        path: file of the records, to which lines are appended.
        images: training images of the score without labels; 0 is all. Not used with `parts`.
        parts: whether every other image is at dusk.

    Returns:
        A Markdown table, a row for each N.

    Raises:
        UserError: the directory holds no such run.
    """
    from benchmarks.comparison import adaptation_runs  # Imported late to keep --help fast.

    file = adaptation_runs.RecordFile(path)
    bench = _Bench(run_dir, file)
    title = f"{bench.name}\n\n"
    if parts:
        return title + _format_parts([bench.find("parts", prior) for prior in priors])
    return title + _format_curve([bench.find("whole", prior, images) for prior in priors])


class _Bench:
    """Measures one run, and keeps its records."""

    def __init__(self, run_dir: str, file: RecordFile):
        self.name = finished_run.name_run(run_dir)
        self._run_dir = run_dir
        self._file = file
        self._run: Any = None

    def find(self, kind: str, prior: float, images: int | None = None) -> dict[str, Any]:
        """Returns the record of a measurement, which is made if there is none."""
        key = {
            "run": self.name,
            "kind": kind,
            "prior": "inf" if math.isinf(prior) else int(prior),
            "images": images,
        }
        for record in self._file.read():
            if key.items() <= record.items():
                return record
        if self._run is None:
            self._run = finished_run.FinishedRun(self._run_dir)
        measured = (
            self._measure_parts(prior) if images is None else self._measure_whole(prior, images)
        )
        record = {**key, **measured}
        self._file.append(record)
        print(f"{self.name}, {kind}, N = {key['prior']}: measured.", flush=True)
        return record

    def _measure_whole(self, prior, images):
        """Scores the statistics of all images, with labels and without."""
        from drsl_tf.runs import selection
        from drsl_tf.self_training.label_free import LabelFreeScorer

        self._set_statistics(prior, self._run.target, self._run.pairs)
        confusion = self._run.evaluator.evaluate(self._run.target, self._run.eval_pairs)
        scorer = LabelFreeScorer(
            self._run.model, self._run.strategy, self._run.inference, images=images
        )
        scores = scorer.score(self._run.target, self._run.pairs)
        return {
            "miou": 100.0 * confusion.mean_iou(),
            "score": selection.compute_score(scores),
            "agreement": selection.compute_agreement(scores),
            "entropy": scores.entropy,
        }

    def _measure_parts(self, prior):
        """Scores each part with the statistics of all images, and with those of the part."""
        from benchmarks.selection import dusk
        from drsl_tf.evaluation.confusion import ConfusionMatrix

        target = dusk.HalfAtDusk(self._run.target)
        trained = target.split(self._run.pairs)
        scored = target.split(self._run.eval_pairs)
        found = {}
        for name in ("all", "part"):
            matrices = []
            for place, pairs in enumerate(scored):
                if name == "part" or place == 0:
                    chosen = trained[place] if name == "part" else self._run.pairs
                    self._set_statistics(prior, target, chosen)
                matrices.append(self._run.evaluator.evaluate(target, pairs).matrix)
            mious = {
                part: 100.0 * ConfusionMatrix.from_matrix(matrix).mean_iou()
                for part, matrix in zip((*dusk.PARTS, "both"), (*matrices, sum(matrices)))
            }
            found[name] = mious
        return found

    def _set_statistics(self, prior, domain, pairs):
        from drsl_tf.runs import stored_weights
        from drsl_tf.self_training.target_statistics import TargetStatistics

        stored_weights.restore_weights(self._run.model, self._run.checkpoint)
        if not math.isinf(prior):
            TargetStatistics(prior_images=int(prior)).update(
                self._run.model, self._run.strategy, domain, pairs, self._run.inference
            )


def _format_curve(records):
    from benchmarks.comparison import tables
    from benchmarks.selection import label_free_scores

    rows = [
        [
            str(record["prior"]),
            f"{record['miou']:.2f}",
            *(f"{record[key]:.4f}" for key in ("score", "agreement", "entropy")),
        ]
        for record in records
    ]
    table = tables.format_rows(["N", "mIoU", "score", "agreement", "entropy"], rows)
    correlation = label_free_scores.compute_rank_correlation(
        [record["score"] for record in records], [record["miou"] for record in records]
    )
    return f"{table}\nRank correlation of score and mIoU: {correlation:.2f}\n"


def _format_parts(records):
    from benchmarks.comparison import tables
    from benchmarks.selection import dusk

    parts = (*dusk.PARTS, "both")
    header = ["N", *(f"{name}: {part}" for name in ("all", "part") for part in parts)]
    rows = [
        [
            str(record["prior"]),
            *(f"{record[name][part]:.2f}" for name in ("all", "part") for part in parts),
        ]
        for record in records
    ]
    return tables.format_rows(header, rows)


if __name__ == "__main__":
    cli.run_command(main)
