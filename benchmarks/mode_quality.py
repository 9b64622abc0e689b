"""Measures the agreement of modes and hidden classes, after training in categories.

  python -m benchmarks.mode_quality --pair=simtown7_kitti7 --seeds=5
  python -m benchmarks.mode_quality --pair=streets7 --arms=k1,k3_shipped --seeds=3
  python -m benchmarks.mode_quality --pair=streets7 --seeds=3 --report_only

Run it in the root of the project, to which the data paths are relative. Every finished run is
appended to mode_quality.jsonl; the same command, run again, does the missing runs. A run is
repeated if its configuration has changed. With other steps or bindings than the pair's the files
are named mode_quality_trial.*.
"""

from __future__ import annotations

import os
import signal
import sys

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

_PAIR = flags.DEFINE_string("pair", None, "Source and target: streets7 or simtown7_kitti7.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Number of seeds, starting at 0.")
_ARMS = flags.DEFINE_list("arms", [], "Methods to run; default: all.")
_STEPS_SCALE = flags.DEFINE_float("steps_scale", 1.0, "Factor on the steps of every stage.")
_GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "Additional binding for every method.")
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder of the results.")
_WORK = flags.DEFINE_string("work", "runs/benchmark", "Folder of the run directories.")
_REPORT_ONLY = flags.DEFINE_bool("report_only", False, "Only write the results of existing runs.")


def main() -> int:
    """Does the missing runs and writes the results after each."""
    cli.require_flags("pair", "seeds")
    if _STEPS_SCALE.value <= 0:
        raise UserError(f"--steps_scale={_STEPS_SCALE.value} must be above 0.")
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(cli.EXIT_STOPPED_EARLY))

    from benchmarks import adaptation_arms
    from benchmarks import adaptation_runs
    from benchmarks import mode_runs
    from benchmarks.adaptation_plan import Plan

    pairs = [name for name, setup in adaptation_arms.SETUPS.items() if setup.hidden_params]
    if _PAIR.value not in pairs:
        raise UserError(f"--pair={_PAIR.value} is not known; choose one of {', '.join(pairs)}.")
    arms = adaptation_arms.MODE_ARMS
    unknown = [name for name in _ARMS.value if name not in arms]
    if unknown:
        raise UserError(f"--arms names {unknown[0]!r}; there are {', '.join(arms)}.")
    is_full = _STEPS_SCALE.value == 1 and not _GIN_PARAM.value
    # A trial's bindings may not fit all pairs and methods.
    names = _ARMS.value or list(arms)

    def plan(pair, arm):
        return Plan(pair, arm, steps_scale=_STEPS_SCALE.value, gin_params=_GIN_PARAM.value)

    plans = {
        pair: {
            mode_runs.KMEANS: plan(pair, "drsl"),
            **{name: plan(pair, arms[name]) for name in (arms if is_full else names)},
        }
        for pair in (pairs if is_full else [_PAIR.value])
    }
    stem = os.path.join(_OUTPUT.value, "mode_quality" + ("" if is_full else "_trial"))
    records = adaptation_runs.RecordFile(f"{stem}.jsonl")

    def report():
        content = mode_runs.make_report(plans, records.read())
        mode_runs.write_report(f"{stem}.json", content)
        return content

    runner = mode_runs.ModeRunner(
        _PAIR.value, _WORK.value, records, plans[_PAIR.value][mode_runs.KMEANS]
    )
    order = [(seed, name) for seed in range(_SEEDS.value) for name in names]
    failures = adaptation_runs.run_missing(
        [] if _REPORT_ONLY.value else order, plans[_PAIR.value], records, runner.run, report
    )
    print(mode_runs.format_table(report()))
    print(f"Written: {stem}.json, .jsonl")
    return 1 if failures else 0


if __name__ == "__main__":
    cli.run_command(main)
