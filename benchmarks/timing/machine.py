"""Describes the machine of a measurement."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Describes the machine of this process.

    Returns:
        "processor", "cores" (available to this process), "python", "tensorflow" and
        "finished" (now, UTC).
    """
    return {
        "processor": _name_processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "tensorflow": metadata.version("tensorflow"),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _name_processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor()
