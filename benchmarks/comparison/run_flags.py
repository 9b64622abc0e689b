"""Flags of the benchmarks that train methods with several seeds; only commands import this."""

from __future__ import annotations

import os
import signal
import sys

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

SEEDS = flags.DEFINE_integer("seeds", 3, "Number of seeds, starting at 0.")
ARMS = flags.DEFINE_list("arms", [], "Methods to run; default: all.")
STEPS_SCALE = flags.DEFINE_float("steps_scale", 1.0, "Factor on the steps of every stage.")
GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "Additional binding for every method.")
OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder of the results.")
WORK = flags.DEFINE_string("work", "runs/benchmark", "Folder of the run directories.")
REPORT_ONLY = flags.DEFINE_bool("report_only", False, "Only write the results of existing runs.")


def begin(*required: str) -> None:
    """Checks the flags, and lets SIGTERM end the command in order.

    Args:
        *required: names of further flags that must be given.

    Raises:
        UserError: a flag is missing or out of range.
    """
    cli.require_flags(*required, "seeds")
    if STEPS_SCALE.value <= 0:
        raise UserError(f"--steps_scale={STEPS_SCALE.value} must be above 0.")
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(cli.EXIT_STOPPED_EARLY))


def is_full() -> bool:
    """Returns whether steps and bindings are those of the setup, and not of a trial."""
    return STEPS_SCALE.value == 1 and not GIN_PARAM.value


def locate(name: str) -> str:
    """Returns the path of the results without ending.

    Args:
        name: the name of the files; those of a trial end with "_trial".
    """
    return os.path.join(OUTPUT.value, name + ("" if is_full() else "_trial"))
