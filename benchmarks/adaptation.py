"""Measures the gain of adaptation: trains every method with several seeds.

  python -m benchmarks.adaptation --setup=streets --seeds=3
  python -m benchmarks.adaptation --setup=streets2camvid --seeds=3 --arms=cbst,drsl
  python -m benchmarks.adaptation --setup=streets --seeds=3 --report_only

Run it in the root of the project, to which the setups' data paths are relative. Every finished run
is appended to adaptation_SETUP.jsonl; the same command, run again, does the missing runs. A run is
repeated if its configuration has changed. With other steps or bindings than the setup's the files
are named adaptation_SETUP_trial.*.
"""

from __future__ import annotations

import os

from absl import flags

from benchmarks.comparison import run_flags
from data_pipelines import cli

flags.adopt_module_key_flags(run_flags)
_SETUP = flags.DEFINE_string(
    "setup", None, "Source and target, such as streets, streets2camvid or simtown2kitti."
)


def main() -> int:
    """Does the missing runs and writes the report after each."""
    run_flags.begin("setup")

    from benchmarks.comparison import adaptation_arms
    from benchmarks.comparison import adaptation_runs
    from benchmarks.comparison.adaptation_plan import Plan

    is_full = run_flags.is_full()
    stem = run_flags.locate(f"adaptation_{_SETUP.value}")
    names = adaptation_arms.order_arms(_SETUP.value, tuple(run_flags.ARMS.value))
    left_out = [name for name in names if not adaptation_arms.is_available(name)]
    for name in left_out:
        needed = adaptation_arms.ARMS[name].module
        print(f"{name}: left out, {needed} is not installed here.")
    plans = {
        name: Plan(
            _SETUP.value,
            name,
            steps_scale=run_flags.STEPS_SCALE.value,
            gin_params=run_flags.GIN_PARAM.value,
        )
        # The report holds all methods ever run; a trial's bindings may not fit all of them.
        for name in (adaptation_arms.order_arms(_SETUP.value) if is_full else names)
    }
    records = adaptation_runs.RecordFile(f"{stem}.jsonl")
    runner = adaptation_runs.ArmRunner(_SETUP.value, run_flags.WORK.value)
    wanted = [name for name in names if name not in left_out]
    core = [name for name in wanted if name in adaptation_arms.CORE_ARMS]
    others = [name for name in wanted if name not in core]
    seeds = range(run_flags.SEEDS.value)
    order = [(seed, name) for group in (core, others) for seed in seeds for name in group]
    failures = adaptation_runs.run_missing(
        [] if run_flags.REPORT_ONLY.value else order,
        plans,
        records,
        runner.run,
        lambda: _write_report(stem, records, plans, seeds),
    )
    print(_write_report(stem, records, plans, seeds))
    return 1 if failures else 0


def _write_report(stem, records, plans, seeds):
    from benchmarks.comparison import adaptation_chart
    from benchmarks.comparison import adaptation_report
    from benchmarks.comparison import adaptation_runs
    from benchmarks.comparison import tables
    from drsl_tf import files
    from drsl_tf.figures import rendering

    content = records.read()
    found = {}
    for name, plan in plans.items():
        done = adaptation_runs.select_newest(content, name, plan)
        found[name] = [done[seed] for seed in seeds if seed in done]
    report = adaptation_report.AdaptationReport(_SETUP.value, found)
    scores = report.list_scores()
    if not scores and os.path.exists(f"{stem}.json"):
        return f"No run is finished: {stem}.json and .md are kept."
    tables.write_compact_json(f"{stem}.json", report.as_dict())
    text = report.format_markdown()
    files.write_text(f"{stem}.md", text)
    if scores:
        title = f"{_SETUP.value}: target mIoU (%), bar = mean, dot = one seed"
        chart = adaptation_chart.draw_scores(title, scores)
        files.write_png(f"{stem}.png", rendering.to_image(chart))
    return text.split("## IoU by class")[0] + f"Written: {stem}.json, .md, .png, .jsonl"


if __name__ == "__main__":
    cli.run_command(main)
