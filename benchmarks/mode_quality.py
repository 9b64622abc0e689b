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

from absl import flags

from benchmarks.comparison import run_flags
from data_pipelines import cli
from data_pipelines.errors import UserError

flags.adopt_module_key_flags(run_flags)
_PAIR = flags.DEFINE_string("pair", None, "Source and target: streets7 or simtown7_kitti7.")


def main() -> int:
    """Does the missing runs and writes the results after each."""
    run_flags.begin("pair")

    from benchmarks.comparison import adaptation_arms
    from benchmarks.comparison import adaptation_runs
    from benchmarks.comparison import tables
    from benchmarks.comparison.adaptation_plan import Plan
    from benchmarks.modes import mode_runs

    pairs = [name for name, setup in adaptation_arms.SETUPS.items() if setup.hidden_params]
    if _PAIR.value not in pairs:
        raise UserError(f"--pair={_PAIR.value} is not known; choose one of {', '.join(pairs)}.")
    arms = adaptation_arms.MODE_ARMS
    unknown = [name for name in run_flags.ARMS.value if name not in arms]
    if unknown:
        raise UserError(f"--arms names {unknown[0]!r}; there are {', '.join(arms)}.")
    is_full = run_flags.is_full()
    # A trial's bindings may not fit all pairs and methods.
    names = run_flags.ARMS.value or list(arms)

    def plan(pair, arm):
        return Plan(
            pair, arm, steps_scale=run_flags.STEPS_SCALE.value, gin_params=run_flags.GIN_PARAM.value
        )

    plans = {
        pair: {
            mode_runs.KMEANS: plan(pair, "drsl"),
            **{name: plan(pair, arms[name]) for name in (arms if is_full else names)},
        }
        for pair in (pairs if is_full else [_PAIR.value])
    }
    stem = run_flags.locate("mode_quality")
    records = adaptation_runs.RecordFile(f"{stem}.jsonl")

    def report():
        content = mode_runs.make_report(plans, records.read())
        tables.write_compact_json(f"{stem}.json", content)
        return content

    runner = mode_runs.ModeRunner(
        _PAIR.value, run_flags.WORK.value, records, plans[_PAIR.value][mode_runs.KMEANS]
    )
    order = [(seed, name) for seed in range(run_flags.SEEDS.value) for name in names]
    failures = adaptation_runs.run_missing(
        [] if run_flags.REPORT_ONLY.value else order,
        plans[_PAIR.value],
        records,
        runner.run,
        report,
    )
    print(mode_runs.format_table(report()))
    print(f"Written: {stem}.json, .jsonl")
    return 1 if failures else 0


if __name__ == "__main__":
    cli.run_command(main)
