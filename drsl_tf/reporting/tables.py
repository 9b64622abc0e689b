"""The report's tables, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from drsl_tf.reporting import evaluations
from drsl_tf.reporting.groups import RunGroup
from drsl_tf.reporting.groups import Spread
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.reporting.side_by_side import Column
from drsl_tf.runs import selection
from drsl_tf.runs import verdict

TEXT_COLUMNS = {"class", "experiment", "run", "split", "testing", "versions", "weights"}
"""Columns that hold words; all others hold numbers."""

_NONE = "–"


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        cells: one text per column.
        color: of the experiment in charts, "#rrggbb"; empty if the row is of none.
    """

    cells: list[str]
    color: str = ""


class Table(NamedTuple):
    """A table.

    Attributes:
        head: names of the columns.
        rows: its rows.
        title: text above the table; may be empty.
    """

    head: list[str]
    rows: list[Row]
    title: str = ""


class Verdict(NamedTuple):
    """Whether adaptation helped in one run: its name, the outcome's name, and a sentence."""

    run: str
    outcome: str
    text: str


def list_verdicts(runs: Sequence[RunRecord]) -> list[Verdict]:
    """Lists for each run whether adaptation helped; omits runs without rounds."""
    judged = [(run, verdict.judge(run.stages, run.initial_run)) for run in runs]
    return [
        Verdict(run.name, found.outcome, verdict.format_verdict(found, run.run_dir))
        for run, found in judged
        if found is not None
    ]


def list_selections(runs: Sequence[RunRecord]) -> list[str]:
    """Lists for each run with a selection which model it selected without target labels."""
    selected = [(run, selection.select(run.stages)) for run in runs]
    return [
        f"{run.name}: {selection.format_selection(found, run.run_dir)}"
        for run, found in selected
        if found is not None
    ]


def list_warnings(runs: Sequence[RunRecord]) -> list[str]:
    """Lists the warnings of all runs' stages."""
    return [
        f"{run.name}, round {stage.round}: {warning}"
        for run in runs
        for stage in run.stages
        for warning in stage.warnings
    ]


def tabulate_scores(groups: Sequence[RunGroup]) -> Table:
    """Returns the scores by experiment; columns of subsets only where a run has them."""
    head = ["experiment", "seeds", "rounds", "source only", "last round", "gain"]
    subsets = ("16", "13")
    rows = []
    for group in groups:
        last = group.find_last_round()
        spreads = [group.spread_at(0, "miou"), group.spread_at(last, "miou"), group.spread_gain()]
        spreads += [group.spread_at(last, "protocols", subset, "miou") for subset in subsets]
        cells = [group.experiment, str(len(group.runs)), str(last), *map(_format, spreads)]
        rows.append(Row(cells, group.color))
    head += [f"{subset} classes" for subset in subsets]
    keep = [i for i in range(len(head)) if i < 6 or any(row.cells[i] != _NONE for row in rows)]
    rows = [row._replace(cells=[row.cells[i] for i in keep]) for row in rows]
    return Table([head[i] for i in keep], rows)


def tabulate_runs(runs: Sequence[RunRecord]) -> Table:
    """Returns scores, times and versions of each run."""
    head = [
        "run", "experiment", "seed", "source only", "last round", "best stage", "minutes",
        "versions",
    ]  # fmt: skip
    rows = []
    for run in runs:
        scores = dict(run.get_curve("miou"))
        best = max(scores, key=lambda stage: scores[stage], default=None)
        first, last = (scores.get(stage) for stage in (0, run.rounds[-1]))
        minutes = sum(seconds for _, seconds in run.get_curve("seconds")) / 60
        packages = [name for name in ("tensorflow", "keras") if name in run.versions]
        rows.append(Row([
            run.name, run.experiment, str(run.seed),
            _NONE if first is None else f"{first:.2f}",
            _NONE if last is None else f"{last:.2f}",
            _NONE if best is None else f"{scores[best]:.2f} (round {best})",
            f"{minutes:.1f}",
            ", ".join(f"{name} {run.versions[name]}" for name in packages),
        ]))  # fmt: skip
    return Table(head, rows)


def tabulate_evaluations(groups: Sequence[RunGroup]) -> Table | None:
    """Returns the scores of `drsl_tf.evaluate`; None without evaluations."""
    found = evaluations.list_rows(groups)
    if not found:
        return None
    head = ["experiment", "split", "weights", "testing", "folder", "seeds", "all classes"]
    head += [f"{subset} classes" for subset in list(found[0].means)[1:]]
    rows = []
    for row in found:
        cells = [row.group.experiment, row.split, row.weights, row.testing, row.name]
        means = map(_format, row.means.values())
        rows.append(Row([*cells, str(row.seeds), *means], row.group.color))
    return Table(head, rows)


def tabulate_classes(columns: Sequence[Column]) -> Table:
    """Returns the IoU of every class, and their mean, in several stages."""
    rows = []
    for name in columns[0].group.class_names:
        spreads = [column.group.spread_at(column.round, "iou", name) for column in columns]
        rows.append(Row([name, *(_format(spread, 1) for spread in spreads)]))
    means = [column.group.spread_at(column.round, "miou") for column in columns]
    rows.append(Row(["mean", *(_format(mean, 1) for mean in means)]))
    return Table(["class", *(column.title for column in columns)], rows)


def format_text(table: Table) -> str:
    """Formats a table for a terminal: the first column left, the others right."""
    lines = [table.head, *(row.cells for row in table.rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines)]
    return "\n".join(
        "  ".join([f"{cells[0]:<{widths[0]}}", *map(str.rjust, cells[1:], widths[1:])])
        for cells in lines
    )


def tabulate_labels(groups: Sequence[RunGroup]) -> list[Table]:
    """Returns the pseudo-labels of the last round by class, one table per experiment.

    The last row is of all classes; experiments without pseudo-labels are omitted.
    """
    tables = []
    for group in groups:
        last = group.find_last_round()
        if not last or group.spread_at(last, "pseudo_label", "fraction") is None:
            continue
        rows = [
            Row([
                name,
                _format(group.spread_at(last, "pseudo_label", "thresholds", name), 3),
                _format_share(group.spread_at(last, "pseudo_label", "fractions", name)),
                _format_share(group.spread_at(last, "pseudo_label", "accuracies", name)),
            ])
            for name in group.class_names
        ]  # fmt: skip
        total = [group.spread_at(last, "pseudo_label", key) for key in ("fraction", "accuracy")]
        rows.append(Row(["all", "", *map(_format_share, total)]))
        head = ["class", "threshold", "selected (%)", "accuracy (%)"]
        tables.append(Table(head, rows, f"{group.experiment}, round {last}"))
    return tables


def _format(spread: Spread | None, digits: int = 2) -> str:
    return _NONE if spread is None else spread.format(digits)


def _format_share(spread: Spread | None) -> str:
    """Formats a fraction as a percentage."""
    if spread is None:
        return _NONE
    deviation = None if spread.deviation is None else 100 * spread.deviation
    return spread._replace(mean=100 * spread.mean, deviation=deviation).format(1)
