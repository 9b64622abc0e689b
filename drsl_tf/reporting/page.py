"""The report: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jinja2
from matplotlib.figure import Figure

from drsl_tf import files
from drsl_tf.figures import charts
from drsl_tf.figures import rendering
from drsl_tf.reporting import gallery
from drsl_tf.reporting import side_by_side
from drsl_tf.reporting import tables
from drsl_tf.reporting.groups import RunGroup
from drsl_tf.reporting.groups import group_runs
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs.results_schema import name_stage

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("drsl_tf.reporting"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
# Per curve: title, unit, keys of a stage's entry in results.json, and the factor to the unit.
_CURVES = (
    ("Mean IoU on the target", "%", ("miou",), 1),
    ("Target pixels with a pseudo-label", "%", ("pseudo_label", "fraction"), 100),
    ("Accuracy of the pseudo-labels", "%", ("pseudo_label", "accuracy"), 100),
    ("Time of the stage", "minutes", ("seconds",), 1 / 60),
)


class Chart(NamedTuple):
    """A chart in the page: its title, also for screen readers, and its SVG."""

    title: str
    svg: str


def write_report(run_dirs: Sequence[str], output: str, figure: str | None = None) -> str:
    """Writes the report of one or more runs.

    Args:
        run_dirs: directories that `drsl_tf.train` wrote.
        output: the HTML file.
        figure: PNG of a few frames with the predictions of the runs side by side; None draws none.

    Returns:
        The IoU of every class in these runs, as text.

    Raises:
        UserError: a directory holds no results, or a file cannot be written.
    """
    runs = [RunRecord(run_dir) for run_dir in run_dirs]
    groups = group_runs(runs)
    if figure is not None:
        drawn = side_by_side.draw_columns(side_by_side.list_columns(groups))
        files.write_png(figure, rendering.to_image(drawn))
    files.write_text(output, format_report(runs))
    by_classes: dict[tuple[str, ...], list[RunGroup]] = {}
    for group in groups:
        by_classes.setdefault(tuple(group.class_names), []).append(group)
    columns = [side_by_side.list_columns(members) for members in by_classes.values()]
    return "\n\n".join(tables.format_text(tables.tabulate_classes(each)) for each in columns)


def format_report(runs: Sequence[RunRecord]) -> str:
    """Formats the report.

    Args:
        runs: one or more.

    Returns:
        Self-contained HTML.
    """
    groups = group_runs(runs)
    shown = [run for group in groups for run in group.runs if run.panels]
    pictured = {group.runs[0]: gallery.list_mode_pictures(group.runs[0]) for group in groups}
    return _ENVIRONMENT.get_template("report.html.jinja").render(
        title="Runs: " + ", ".join(group.experiment for group in groups),
        text_columns=tables.TEXT_COLUMNS,
        verdicts=tables.list_verdicts(runs),
        selections=tables.list_selections(runs),
        scores=tables.tabulate_scores(groups),
        runs=tables.tabulate_runs(runs),
        warnings=tables.list_warnings(runs),
        evaluations=tables.tabulate_evaluations(groups),
        curves=_draw_curves(groups),
        bars=_draw_bars(groups),
        labels=tables.tabulate_labels(groups),
        confusions=_draw_confusions(groups),
        mode_shares=_draw_mode_shares(groups),
        mode_pictures=[(run, pictures) for run, pictures in pictured.items() if pictures],
        legends=_make_legends(shown),
        galleries=[(run, gallery.list_frames(run)) for run in shown],
        opened=[group.runs[0] for group in groups],
    )


def _make_legends(runs: Sequence[RunRecord]) -> list[gallery.Legend]:
    """Returns a legend for each choice of classes and colours, with the most modes of its runs."""
    by_classes: dict[tuple[tuple[str, str], ...], gallery.Legend] = {}
    for run in sorted(runs, key=_count_modes):
        legend = gallery.make_legend(run)
        by_classes[tuple(legend.classes)] = legend
    return list(by_classes.values())


def _make_chart(title: str, figure: Figure) -> Chart:
    return Chart(title, rendering.to_svg(figure, salt=title))


def _draw_curves(groups: Sequence[RunGroup]) -> list[Chart]:
    drawn = []
    for title, unit, keys, scale in _CURVES:
        series: list[charts.Series] = []
        for group in groups:
            curves = [[(x, y * scale) for x, y in run.get_curve(*keys)] for run in group.runs]
            if len(curves) > 1:
                series += [charts.Series("", group.color, curve, faint=True) for curve in curves]
            rounds = sorted({x for curve in curves for x, _ in curve})
            spreads = {x: spread for x in rounds if (spread := group.spread_at(x, *keys))}
            series.append(
                charts.Series(
                    group.experiment,
                    group.color,
                    [(x, scale * spread.mean) for x, spread in spreads.items()],
                    [scale * (spread.deviation or 0.0) for spread in spreads.values()],
                )
            )
        if any(line.points for line in series):
            drawn.append(_make_chart(title, charts.draw_lines(title, unit, series)))
    return drawn


def _draw_bars(groups: Sequence[RunGroup]) -> list[Chart]:
    drawn = []
    for group in groups:
        sets = []
        for stage in sorted({0, group.find_last_round()}):
            spreads = [group.spread_at(stage, "iou", name) for name in group.class_names]
            if any(spreads):
                means = [spread and spread.mean for spread in spreads]
                deviations = [spread and spread.deviation for spread in spreads]
                color = group.color if stage else "#b0b0b0"
                sets.append(charts.BarSet(name_stage(stage), color, means, deviations))
        if sets:
            title = f"{group.experiment}: IoU"
            drawn.append(_make_chart(title, charts.draw_bars(title, "%", group.class_names, sets)))
    return drawn


def _draw_confusions(groups: Sequence[RunGroup]) -> list[Chart]:
    drawn = []
    for group in groups:
        for stage in sorted({0, group.find_last_round()}):
            matrix = group.sum_confusion(stage)
            if matrix is not None:
                title = f"{group.experiment}, {name_stage(stage)}"
                figure = charts.draw_confusion(title, group.class_names, matrix)
                drawn.append(_make_chart(title, figure))
    return drawn


def _draw_mode_shares(groups: Sequence[RunGroup]) -> list[Chart]:
    drawn = []
    for group in groups:
        run = group.runs[0]
        report = run.stages[-1].pseudo_label
        usage = report and report.mode_usage
        if not usage or not run.panels or _count_modes(run) < 2:
            continue
        title = f"{run.name}: shares of the modes, round {run.rounds[-1]}"
        counts = [usage[name] for name in run.class_names]
        shades = gallery.list_mode_shades(run)
        drawn.append(_make_chart(title, charts.draw_shares(title, run.class_names, counts, shades)))
    return drawn


def _count_modes(run: RunRecord) -> int:
    return run.panels.modes_per_class
