"""Measures speed and memory as ratios, both sides of each in turn within one run.

  python -m benchmarks.speed
  python -m benchmarks.speed --quick
  python -m benchmarks.speed --only=steps,scoring

Parts: steps (DRSL against cross-entropy only), teacher (masks and DRSL against a mean teacher
only), torch (our step against PyTorch's), labels, predict, pipeline, scoring, commands. Parts that
are not run keep their earlier results. PyTorch has a separate environment, which is created on
first use; `--quick` only uses an existing one. `--quick` only checks that everything runs: its
numbers are not for comparison.
"""

from __future__ import annotations

import os
import time

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

_PARTS = ("steps", "teacher", "torch", "labels", "predict", "pipeline", "scoring", "commands")
_QUICK = flags.DEFINE_bool("quick", False, "Reduced sizes.")
_ONLY = flags.DEFINE_list("only", [], f"Parts to run, of {', '.join(_PARTS)}.")
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder of speed.json; default: benchmarks/results, or runs/benchmark with --quick.",
)
_WORK = flags.DEFINE_string("work", "runs/benchmark", "Folder of scenes and PyTorch.")
_TORCH_PYTHON = flags.DEFINE_string("torch_python", None, "A Python with torch installed.")


def main() -> int:
    """Runs the parts and writes the results after each."""
    unknown = [part for part in _ONLY.value if part not in _PARTS]
    if unknown:
        raise UserError(f"--only names {unknown[0]!r}; parts are {', '.join(_PARTS)}.")
    from benchmarks.timing import machine
    from benchmarks.timing import speed_data
    from benchmarks.timing import speed_report
    from benchmarks.timing import speed_scoring
    from benchmarks.timing import speed_steps

    quick, scenes = _QUICK.value, os.path.join(_WORK.value, "scenes")

    def measure_torch():
        python = _TORCH_PYTHON.value or speed_steps.find_torch(
            os.path.join(_WORK.value, "torch"), install=not quick
        )
        if python is None:
            return {"notes": ["There is no environment with PyTorch: torch was left out."]}
        return speed_steps.measure_torch(quick, python)

    measures = {
        "steps": lambda: speed_steps.measure_drsl(quick),
        "teacher": lambda: speed_steps.measure_teacher(quick),
        "torch": measure_torch,
        "labels": lambda: speed_data.measure_labelling(quick, scenes),
        "predict": lambda: speed_data.measure_prediction(quick, scenes),
        "pipeline": lambda: speed_data.measure_pipeline(quick, scenes),
        "scoring": lambda: speed_scoring.measure_scoring(quick),
        "commands": lambda: speed_scoring.measure_commands(quick),
    }
    folder = _OUTPUT.value or ("runs/benchmark" if quick else "benchmarks/results")
    report = speed_report.SpeedReport(os.path.join(folder, "speed.json"), quick)
    for part in _PARTS:
        if _ONLY.value and part not in _ONLY.value:
            continue
        began = time.monotonic()
        print(f"{part}: running.", flush=True)
        found = measures[part]()
        if found.keys() == {"notes"}:  # A package is missing: the earlier result stays.
            print(*found["notes"], sep="\n", flush=True)
            continue
        found["machine"] = {
            **machine.describe_machine(),
            "seconds": round(time.monotonic() - began, 1),
        }
        report.add(part, found)
    print(report.format_markdown())
    print(f"Written: {report.path}")
    return 0


if __name__ == "__main__":
    cli.run_command(main)
