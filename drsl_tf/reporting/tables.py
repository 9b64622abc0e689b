"""The report's tables, as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

from drsl_tf.reporting import evaluations
from drsl_tf.reporting.groups import RunGroup
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs import verdict


def make_scores(groups: Sequence[RunGroup]) -> str:
    """Makes the table of scores by experiment."""
    rows = []
    for group in groups:
        last = group.find_last_round()
        before, after = group.spread_at(0, "miou"), group.spread_at(last, "miou")
        cells = [_key(group), str(len(group.runs)), str(last), *map(_format, (before, after))]
        rows.append(cells + [_format(group.spread_gain())])
        for subset in ("16", "13"):
            value = group.spread_at(last, "protocols", subset, "miou")
            rows[-1].append(_format(value))
    head = [
        "experiment",
        "seeds",
        "rounds",
        "source only",
        "last round",
        "gain",
        "16 classes",
        "13 classes",
    ]
    keep = [i for i in range(len(head)) if i < 6 or any(row[i] != "–" for row in rows)]
    note = (
        "Mean IoU on the target's evaluation split in percent, single scale; mean ± standard "
        "deviation over the runs of an experiment where there are several. The last round is the "
        "last one that all of them have finished."
    )
    table = _make_table([head[i] for i in keep], [[row[i] for i in keep] for row in rows], 1)
    return f"<p>{note}</p>{table}"


def make_verdicts(runs: Sequence[RunRecord]) -> str:
    """Makes a line for each run on whether adaptation helped; nothing without rounds."""
    verdicts = [(run, verdict.judge(run.stages, run.initial_run)) for run in runs]
    lines = [
        f'<li class="{found["outcome"]}"><b>{html.escape(run.name)}</b>: '
        f"{html.escape(verdict.format_verdict(found, run.run_dir))}</li>"
        for run, found in verdicts
        if found is not None
    ]
    return f'<ul class="verdicts">{"".join(lines)}</ul>' if lines else ""


def make_run_table(runs: Sequence[RunRecord]) -> str:
    """Makes the table of runs, and lists their warnings."""
    rows = []
    for run in runs:
        scores = dict(run.get_curve("miou"))
        best = max(scores.items(), key=lambda item: item[1]) if scores else None
        last = scores.get(run.rounds[-1])
        minutes = sum(seconds for _, seconds in run.get_curve("seconds")) / 60
        packages = ("tensorflow", "keras")
        rows.append([
            html.escape(run.name), html.escape(run.experiment), str(run.seed),
            "–" if 0 not in scores else f"{scores[0]:.2f}",
            "–" if last is None else f"{last:.2f}",
            "–" if best is None else f"{best[1]:.2f} (round {best[0]})",
            f"{minutes:.1f}",
            ", ".join(f"{p} {run.versions[p]}" for p in packages if p in run.versions),
        ])  # fmt: skip
    head = [
        "run",
        "experiment",
        "seed",
        "source only",
        "last round",
        "best stage",
        "minutes",
        "versions",
    ]
    note = (
        "Mean IoU in percent. The best stage is chosen with target labels, so it is no result that "
        "an adapted model could claim."
    )
    warnings = [
        f"<li>{html.escape(run.name)}, round {stage['round']}: {html.escape(warning)}</li>"
        for run in runs
        for stage in run.stages
        for warning in stage.get("warnings", ())
    ]
    listed = f"<h3>Warnings</h3><ul>{''.join(warnings)}</ul>" if warnings else ""
    return f"<p>{note}</p>{_make_table(head, rows, 2, last_text=True)}{listed}"


def make_evaluations(groups: Sequence[RunGroup]) -> str:
    """Makes the table of what `drsl_tf.evaluate` found; nothing without evaluations."""
    rows = evaluations.list_rows(groups)
    if not rows:
        return ""
    cells = [
        [
            _key(row.group),
            *map(html.escape, (row.split, row.weights, row.testing)),
            str(row.seeds),
            *map(_format, row.means.values()),
        ]
        for row in rows
    ]
    head = ["experiment", "split", "weights", "testing", "seeds", "all classes"]
    head += [f"{subset} classes" for subset in list(rows[0].means)[1:]]
    note = (
        "Mean IoU in percent, as drsl_tf.evaluate measured it; mean ± standard deviation over "
        "seeds. Weights chosen with target labels are no result that an adapted model could claim."
    )
    return f"<p>{note}</p>{_make_table(head, cells, 4)}"


def make_label_tables(groups: Sequence[RunGroup]) -> str:
    """Makes a table of pseudo-labels for each experiment; nothing without any."""
    tables = []
    head = ["class", "threshold", "selected (%)", "right (%)"]
    for group in groups:
        last = group.find_last_round()
        if not last or group.spread_at(last, "pseudo_label", "fraction") is None:
            continue
        rows = [
            [
                html.escape(name),
                _format(group.spread_at(last, "pseudo_label", "thresholds", name), 3),
                _format_share(group.spread_at(last, "pseudo_label", "fractions", name)),
                _format_share(group.spread_at(last, "pseudo_label", "accuracies", name)),
            ]
            for name in group.class_names
        ]
        total = [_format_share(group.spread_at(last, "pseudo_label", key))
                 for key in ("fraction", "accuracy")]  # fmt: skip
        table = _make_table(head, [*rows, ["<b>all</b>", "", *total]], 1)
        tables.append(f"<div><h3>{_key(group)}, round {last}</h3>{table}</div>")
    note = (
        "Selected is the share of the pixels predicted as a class that were given it as their "
        "pseudo-label (of all pixels in the last row); right is how many of those agree with the "
        "truth, where it is known."
    )
    return f'<p>{note}</p><div class="row">{"".join(tables)}</div>' if tables else ""


def _make_table(head, rows, texts, last_text=False):
    """Makes a table whose first `texts` columns, and the last if asked, are text."""

    def kind(column):
        is_text = column < texts or (last_text and column == len(head) - 1)
        return "" if is_text else ' class="n"'

    top = "".join(f"<th{kind(i)}>{html.escape(name)}</th>" for i, name in enumerate(head))
    lines = [
        "<tr>" + "".join(f"<td{kind(i)}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    ]
    return (
        f'<div class="scroll"><table class="numbers"><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _key(group: RunGroup):
    name = html.escape(group.experiment)
    return f'<span class="key" style="background: {group.color}"></span>{name}'


def _format(spread, digits=2):
    return "–" if spread is None else spread.format(digits)


def _format_share(spread):
    """Formats a fraction as a percentage."""
    if spread is None:
        return "–"
    deviation = None if spread.deviation is None else 100 * spread.deviation
    return spread._replace(mean=100 * spread.mean, deviation=deviation).format(1)
