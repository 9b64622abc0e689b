"""The report itself: one HTML file that holds everything it shows."""

from __future__ import annotations

import html
from collections.abc import Sequence

from drsl_tf import files
from drsl_tf.reporting import charts
from drsl_tf.reporting import gallery
from drsl_tf.reporting import tables
from drsl_tf.reporting.groups import group_runs
from drsl_tf.reporting.groups import measure_spread
from drsl_tf.reporting.reported_run import RunRecord

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 "Helvetica Neue", Arial, "Liberation Sans", sans-serif; color: #222;
  background: #fff; margin: 0 auto; max-width: 1400px; padding: 24px 32px 64px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 44px 0 4px;
  border-bottom: 1px solid #ddd; padding-bottom: 4px; }
h3 { font-size: 16px; margin: 20px 0 6px; }
h4 { font-size: 13px; font-weight: 600; margin: 12px 0 4px; }
p { max-width: 860px; margin: 6px 0 14px; color: #555; }
table { border-collapse: collapse; font-size: 14px; }
.numbers th, .numbers td { padding: 4px 14px 4px 0; text-align: left; border-bottom: 1px solid #eee;
  vertical-align: top; }
.numbers td.n, .numbers th.n { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.scroll { overflow-x: auto; }
.row { display: flex; flex-wrap: wrap; gap: 28px; align-items: flex-start; }
svg { font-family: inherit; display: block; }
.key { display: inline-block; width: 11px; height: 11px; margin-right: 6px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; align-items: center; font-size: 13px;
  margin: 4px 0; }
.swatch { white-space: nowrap; display: inline-flex; align-items: center; }
.swatch i { width: 12px; height: 12px; border: 1px solid #999; }
.swatch i + i { border-left: 0; } .swatch i:last-of-type { margin-right: 5px; }
.ramp { width: 160px; height: 12px; border: 1px solid #999; }
.frame { margin: 0 0 26px; overflow-x: auto; }
.fixed { display: flex; gap: 8px; margin-left: 92px; }
figure { margin: 0; display: flex; flex-direction: column-reverse; }
figcaption { font-size: 12px; color: #555; padding: 2px 0; }
.panels td { padding: 0 8px 6px 0; vertical-align: top; } .panels th { font-size: 12px;
  font-weight: normal; color: #555; text-align: left; padding: 2px 8px 2px 0; }
.panels tbody th, .panels thead td { width: 84px; min-width: 84px; vertical-align: middle; }
.panels img, .fixed img { width: 256px; display: block; } .none { color: #999; font-size: 12px; }
.verdicts { list-style: none; padding: 0; } .verdicts li { border-left: 6px solid #999;
  padding: 4px 12px; margin: 8px 0; } .verdicts .helped { border-color: #009e73; }
.verdicts .hurt { border-color: #d55e00; }
summary { cursor: pointer; font-weight: 600; margin: 10px 0; }
"""


def write_report(run_dirs: Sequence[str], output: str) -> None:
    """Writes the report of one or several runs.

    Args:
        run_dirs: directories that `drsl_tf.train` wrote.
        output: the HTML file.

    Raises:
        UserError: a directory holds no results, or the file cannot be written.
    """
    page = format_report([RunRecord(run_dir) for run_dir in run_dirs])
    files.write_text(output, page)


def format_report(runs: Sequence[RunRecord]) -> str:
    """Formats the report.

    Args:
        runs: one or more.

    Returns:
        HTML that refers to nothing outside itself.
    """
    groups = group_runs(runs)
    title = "Runs: " + ", ".join(group.experiment for group in groups)
    sections = [
        ("Whether adaptation helped", tables.make_verdicts(runs)),
        ("Scores", tables.make_scores(groups)),
        ("Runs", tables.make_run_table(runs)),
        ("Other tests", tables.make_evaluations(groups)),
        ("Over the rounds", _make_curves(groups)),
        ("IoU by class, before and after adaptation", _make_bars(groups)),
        ("Pseudo-labels by class", tables.make_label_tables(groups)),
        ("Confusion on the target", _make_confusions(groups)),
        ("Use of the modes", _make_mode_bars(groups)),
        ("Frames of the target", _make_galleries(groups)),
    ]
    body = "".join(f"<section><h2>{name}</h2>{text}</section>" for name, text in sections if text)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>\n"
    )


def _make_curves(groups):
    kinds = [
        ("Mean IoU on the target", "%", ("miou",), 1),
        ("Target pixels with a pseudo-label", "%", ("pseudo_label", "fraction"), 100),
        ("Pseudo-labels that are right", "%", ("pseudo_label", "accuracy"), 100),
        ("Time of the stage", "minutes", ("seconds",), 1 / 60),
    ]
    drawn = []
    for title, unit, keys, scale in kinds:
        series: list[charts.Series] = []
        for group in groups:
            curves = [[(x, y * scale) for x, y in run.get_curve(*keys)] for run in group.runs]
            if len(curves) > 1:
                series += [charts.Series("", group.color, c, faint=True) for c in curves]
            rounds = sorted({x for curve in curves for x, _ in curve})
            spreads = [
                measure_spread([y for curve in curves for x, y in curve if x == at])
                for at in rounds
            ]
            series.append(
                charts.Series(
                    group.experiment,
                    group.color,
                    [(at, spread.mean) for at, spread in zip(rounds, spreads)],
                    [spread.deviation or 0.0 for spread in spreads],
                )
            )
        drawn.append(charts.draw_lines(title, unit, series))
    note = (
        "Thick lines are means over the runs of an experiment, thin lines its runs, bands one "
        "standard deviation to either side."
    )
    return f'<p>{note}</p><div class="row">{"".join(drawn)}</div>'


def _make_bars(groups):
    drawn = []
    for group in groups:
        last = group.find_last_round()
        sets = [
            charts.BarSet(
                f"round {stage}" if stage else "source only",
                group.color if stage else "#b0b0b0",
                [group.spread_at(stage, "iou", name) for name in group.class_names],
            )
            for stage in sorted({0, last})
        ]
        if any(value for bars in sets for value in bars.values):
            drawn.append(charts.draw_bars(f"{group.experiment}: IoU", "%", group.class_names, sets))
    note = (
        "Numbers are means ± standard deviations over the runs, and black lines span the same. A "
        "dash is a class that is neither in the labels nor predicted."
    )
    return f'<p>{note}</p><div class="row">{"".join(drawn)}</div>' if drawn else ""


def _make_confusions(groups):
    drawn = []
    for group in groups:
        last = group.find_last_round()
        for stage in sorted({0, last}):
            matrix = group.sum_confusion(stage)
            if matrix is not None:
                name = f"round {stage}" if stage else "source only"
                title = f"{group.experiment}, {name}"
                drawn.append(charts.draw_confusion(title, group.class_names, matrix))
    note = (
        "Each row shows, in percent of the pixels of one true class, what they were predicted as; "
        "pixels are summed over the images and over the runs. Shares below 0.5 % bear no number."
    )
    return f'<p>{note}</p><div class="row scroll">{"".join(drawn)}</div>' if drawn else ""


def _make_mode_bars(groups):
    drawn = []
    for group in groups:
        run, last = group.runs[0], group.runs[0].rounds[-1]
        report = run.stages[-1]["pseudo_label"]
        usage = report and report.get("mode_usage")
        if not usage or not run.panels or run.panels["modes_per_class"] < 2:
            continue
        _, shades = gallery.list_mode_shades(run)
        title = f"{run.name}: shares of the modes, round {last}"
        names = run.class_names
        drawn.append(charts.draw_shares(title, names, [usage[n] for n in names], shades))
    note = (
        "How the target pixels predicted as a class divide over its modes when the round began, "
        "mode 0 first, in the shades of the mode map below. A mode that no pixel uses is dead."
    )
    return f'<p>{note}</p><div class="row">{"".join(drawn)}</div>' if drawn else ""


def _make_galleries(groups):
    runs = [run for group in groups for run in group.runs]
    shown = [run for run in runs if run.panels]
    if not shown:
        return ""
    first = {id(group.runs[0]) for group in groups}
    parts = [gallery.make_legend(max(shown, key=lambda run: run.panels["modes_per_class"]))]
    for run in shown:
        is_open = " open" if id(run) in first else ""
        summary = f"{html.escape(run.name)} ({html.escape(run.experiment)}, seed {run.seed})"
        pictures = gallery.make_gallery(run)
        parts.append(f"<details{is_open}><summary>{summary}</summary>{pictures}</details>")
    return "".join(parts)
