"""Measures peak memory and seconds of full-size steps, each in a separate process.

  python -m benchmarks.memory
  python -m benchmarks.memory --network=deeplab_v2_resnet101 --size=512x1024
  python -m benchmarks.memory --quick

Training steps use all losses of DRSL and update all weights by Adam; evaluation steps are the
evaluator's: network, upsampling, argmax and counting. Networks have random weights, images are
noise. Recorded measurements are not repeated. A step that needs more than `--limit_gigabytes` is
stopped and recorded as such. `--quick` only checks that everything runs.
"""

from __future__ import annotations

import os
import time

from absl import flags

from benchmarks.steps import networks
from data_pipelines import cli

_QUICK = flags.DEFINE_bool("quick", False, "One network at a tiny size.")
_NETWORK = flags.DEFINE_enum("network", None, networks.NAMES, "Measure only this network.")
_SIZE = flags.DEFINE_string("size", "all", "Measure only this size, HEIGHTxWIDTH.")
_LIMIT = flags.DEFINE_float("limit_gigabytes", 16.0, "Memory limit of a step.", lower_bound=0.1)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder of memory.json; default: benchmarks/results, or runs/benchmark with --quick.",
)
_DOCUMENT = flags.DEFINE_string("document", None, "Markdown file to write the tables into.")

_MODES = 3
_MOST_STEPS = 3
# Slower steps are measured once.
_SECONDS = 30.0


def main() -> int:
    """Does the missing measurements and prints the tables."""
    from benchmarks.steps import memory_plan
    from benchmarks.steps import memory_record

    plan = memory_plan.list_measurements(
        quick=_QUICK.value, network=_NETWORK.value, size=cli.parse_size(_SIZE.value, "all")
    )
    folder = _OUTPUT.value or ("runs/benchmark" if _QUICK.value else "benchmarks/results")
    record = memory_record.MemoryRecord(os.path.join(folder, "memory.json"))
    limit_bytes = int(_LIMIT.value * 2**30)
    for measurement in plan:
        row = record.find(measurement, limit_bytes)
        if row is None:
            print(f"{measurement}: running.", flush=True)
            record.add(measurement, _measure(measurement, limit_bytes))
            row = record.find(measurement, limit_bytes)
        print(f"{measurement}: {_describe(row)}", flush=True)
    tables = record.format_markdown()
    print(f"\n{tables}\nWritten: {record.path}")
    if _DOCUMENT.value:
        memory_record.replace_tables(_DOCUMENT.value, tables)
        print(f"Written: {_DOCUMENT.value}")
    return 0


def _measure(measurement, limit_bytes):
    """Runs the steps of a measurement; returns the content of its record."""
    from benchmarks.steps import step_server
    from benchmarks.timing import machine

    options = measurement._asdict()
    size = (options.pop("height"), options.pop("width"))
    command = step_server.make_step_command(
        options.pop("network"), size, options.pop("images"), modes=_MODES, warm_steps=1, **options
    )
    found = {"peak_bytes": None, "limit_bytes": limit_bytes, "seconds": [], "parameters": None}
    server = None
    try:
        server = step_server.StepServer(command, limit_bytes)
        found["parameters"] = server.num_parameters
        began = time.monotonic()
        while not found["seconds"] or (
            len(found["seconds"]) < _MOST_STEPS and time.monotonic() - began < _SECONDS
        ):
            found["seconds"].append(round(server.time_steps(1), 3))
        found["peak_bytes"] = int(server.close())
    except step_server.MemoryLimitError:
        found["seconds"] = []
    finally:
        if server is not None:
            server.kill()
    return {**found, "machine": machine.describe_machine()}


def _describe(row):
    if row["peak_bytes"] is None:
        return f"did not fit in {row['limit_bytes'] / 2**30:.1f} GB."
    seconds = ", ".join(f"{value:.2f}" for value in row["seconds"])
    return f"peak memory {row['peak_bytes'] / 2**30:.2f} GB; seconds a step: {seconds}."


if __name__ == "__main__":
    cli.run_command(main)
