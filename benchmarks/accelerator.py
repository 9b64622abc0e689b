"""Runs lowered steps and PyTorch's on an accelerator, without TensorFlow and this project.

  python benchmarks/accelerator.py runs/benchmark/lowered accelerator.json

Needs a Python with JAX, PyTorch and transformers, and `accelerator_step.py` and `torch_step.py`
beside this file. The first argument is the folder of `lower_step`; names after the second select
steps. Steps run one at a time: XLA compares algorithms on the accelerator while it compiles, which
needs its memory. The JSON file is written after each.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

_HERE = os.path.dirname(os.path.abspath(__file__))
_REPETITIONS = 9
_TARGET_SECONDS = 0.5


class Process:
    """A step in its own process, which answers in lines of JSON."""

    def __init__(self, command, log):
        # Without preallocation PyTorch's processes find free memory.
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self._log = open(log, "w+", encoding="utf-8")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )

    def ask(self, line=None):
        """Sends a line if it is given; returns the next line of the answer that is JSON."""
        if line is not None:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        while True:
            answer = self._process.stdout.readline()
            if not answer:
                self._log.seek(0)
                raise RuntimeError(self._log.read()[-1500:])
            try:
                return json.loads(answer)
            except ValueError:
                continue

    def end(self):
        """Closes the input; returns the last line of output, None if there is none."""
        self._process.stdin.close()
        lines = self._process.stdout.read().strip().splitlines()
        self._process.wait()
        return json.loads(lines[-1]) if lines else None

    def kill(self):
        """Kills the process, and waits until its memory is free."""
        self._process.kill()
        self._process.wait()


def time_steps(ask_seconds):
    """Returns milliseconds a step: median, smallest and largest of nine repetitions."""
    once = ask_seconds(5)
    count = max(3, round(_TARGET_SECONDS / once))
    values = [1000 * ask_seconds(count) for _ in range(_REPETITIONS)]
    return {
        "median": round(statistics.median(values), 3),
        "low": round(min(values), 3),
        "high": round(max(values), 3),
        "steps": count,
    }


def measure_lowered(process, found):
    """Adds errors, milliseconds and memory of a lowered step to what is found of it."""
    found.update(process.ask())  # After the compilation.
    found.update(process.ask())  # After the comparison.
    answers = []

    def ask_seconds(count):
        answers.append(process.ask(count))
        return answers[-1]["seconds"]

    found["milliseconds"] = time_steps(ask_seconds)
    found["last_terms"] = answers[-1]["terms"]
    process.end()


def measure_torch(process, found):
    """Adds milliseconds and memory of PyTorch's step to what is found of it."""
    found["parameters"] = process.ask()
    found["milliseconds"] = time_steps(process.ask)
    found["peak_bytes"] = process.end()


def main():
    """Runs one step after the other."""
    folder, output = sys.argv[1:3]
    only = sys.argv[3:]
    steps = {}
    for name in sorted(os.listdir(folder)):
        if only and name not in only:
            continue
        path = os.path.join(folder, name)
        described = os.path.join(path, "step.json")
        if not os.path.exists(described):
            print(f"{path} holds no whole step.", flush=True)
            continue
        with open(described, encoding="utf-8") as file:
            content = json.load(file)
        command = [sys.executable, os.path.join(_HERE, "accelerator_step.py"), path]
        steps[name] = command, measure_lowered
        if content["policy"] == "float32":
            steps[f"{name}_exact"] = [*command, "exact"], measure_lowered
        if not content["modes"]:
            words = [content[key] for key in ("network", "height", "width", "images")] + ["cuda"]
            if "bfloat16" in content["policy"]:
                words.append("bfloat16")
            command = [sys.executable, os.path.join(_HERE, "torch_step.py"), *map(str, words)]
            steps[f"torch_{name}"] = command, measure_torch
            steps[f"torch_{name}_channels_last"] = [*command, "channels_last"], measure_torch
    began = time.monotonic()
    logs = os.path.dirname(os.path.abspath(output))
    report = {}
    for name, (command, measure) in steps.items():
        found = report[name] = {}
        process = Process(command, os.path.join(logs, f"{name}.log"))
        try:
            measure(process, found)
        except Exception as error:  # One step's failure must not end the others.
            found["error"] = str(error)[-1500:]
            process.kill()
        shown = {key: value for key, value in found.items() if key != "errors"}
        print(f"{time.monotonic() - began:.0f} s: {name}: {shown}", flush=True)
        with open(output, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
