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
import signal
import sys

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

_SETUP = flags.DEFINE_string(
    "setup", None, "Source and target, such as streets, streets2camvid or simtown2kitti."
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "Number of seeds, starting at 0.")
_ARMS = flags.DEFINE_list("arms", [], "Methods to run; default: all.")
_STEPS_SCALE = flags.DEFINE_float("steps_scale", 1.0, "Factor on the steps of every stage.")
_GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "Additional binding for every method.")
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder of the results.")
_WORK = flags.DEFINE_string("work", "runs/benchmark", "Folder of the run directories.")
_REPORT_ONLY = flags.DEFINE_bool("report_only", False, "Only write the tables of existing runs.")


def main() -> int:
    """Does the missing runs and writes the report after each."""
    cli.require_flags("setup", "seeds")
    if _STEPS_SCALE.value <= 0:
        raise UserError(f"--steps_scale={_STEPS_SCALE.value} must be above 0.")
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(cli.EXIT_STOPPED_EARLY))

    from benchmarks import adaptation_arms
    from benchmarks import adaptation_runs
    from benchmarks.adaptation_plan import Plan

    is_full = _STEPS_SCALE.value == 1 and not _GIN_PARAM.value
    stem = os.path.join(_OUTPUT.value, f"adaptation_{_SETUP.value}" + ("" if is_full else "_trial"))
    names = adaptation_arms.order_arms(_SETUP.value, tuple(_ARMS.value))
    left_out = [name for name in names if not adaptation_arms.is_available(name)]
    for name in left_out:
        needed = adaptation_arms.ARMS[name].module
        print(f"{name}: left out, {needed} is not installed here.")
    plans = {
        name: Plan(
            _SETUP.value,
            name,
            steps_scale=_STEPS_SCALE.value,
            gin_params=_GIN_PARAM.value,
        )
        # The report holds all methods ever run; a trial's bindings may not fit all of them.
        for name in (adaptation_arms.order_arms(_SETUP.value) if is_full else names)
    }
    records = adaptation_runs.RecordFile(f"{stem}.jsonl")
    runner = adaptation_runs.ArmRunner(_SETUP.value, _WORK.value)
    wanted = [name for name in names if name not in left_out]
    core = [name for name in wanted if name in adaptation_arms.CORE_ARMS]
    others = [name for name in wanted if name not in core]
    seeds = range(_SEEDS.value)
    order = [(seed, name) for group in (core, others) for seed in seeds for name in group]
    failures = adaptation_runs.run_missing(
        [] if _REPORT_ONLY.value else order,
        plans,
        records,
        runner.run,
        lambda: _write_report(stem, records, plans, seeds),
    )
    print(_write_report(stem, records, plans, seeds))
    return 1 if failures else 0


def _write_report(stem, records, plans, seeds):
    from benchmarks import adaptation_chart
    from benchmarks import adaptation_report
    from drsl_tf import files
    from drsl_tf.figures import rendering

    latest = {(r["arm"], r["seed"], r["fingerprint"]): r for r in records.read()}
    found = {
        name: [
            record
            for record in (latest.get((name, seed, plan.fingerprint)) for seed in seeds)
            if record
        ]
        for name, plan in plans.items()
    }
    report = adaptation_report.AdaptationReport(_SETUP.value, found)
    if not report.seeds and os.path.exists(f"{stem}.json"):
        return f"No seed is complete: {stem}.json and .md are kept."
    os.makedirs(os.path.dirname(stem) or ".", exist_ok=True)
    adaptation_report.write_json(f"{stem}.json", report.as_dict())
    text = report.format_markdown()
    files.write_text(f"{stem}.md", text)
    if report.seeds:
        title = f"{_SETUP.value}: target mIoU (%), bar = mean, dot = one seed"
        chart = adaptation_chart.draw_scores(title, report.list_scores())
        files.write_png(f"{stem}.png", rendering.to_image(chart))
    return text.split("## IoU by class")[0] + f"Written: {stem}.json, .md, .png, .jsonl"


if __name__ == "__main__":
    cli.run_command(main)
