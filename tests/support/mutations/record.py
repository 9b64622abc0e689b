"""Runs readers on damaged files, and counts what came of it."""

from __future__ import annotations

import collections
import json
import os
import platform
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata

from drsl_tf import files
from tests.support.mutations import kinds

LIMIT_SECONDS = 10.0
OUTCOMES = ("refused", "read", "crashed", "hung", "died")
"""Clear error or file created again; accepted; another error; too slow; process lost."""

_START_SECONDS = 300.0


class MutationRecord:
    """What damaged files came to, by reader and kind of damage.

    Args:
        names: the readers, of `readers.READERS`.
        count: inputs a reader.
    """

    def __init__(self, names: Sequence[str], count: int):
        self.counts = {
            name: {kind.__name__: collections.Counter() for kind in kinds.KINDS} for name in names
        }
        self.slowest: dict[str, float] = dict.fromkeys(names, 0.0)
        self.failures: dict[str, list] = {name: [] for name in names}
        self._count = count

    def run(self) -> None:
        """Reads every damaged file, each worker process as many as it survives."""
        left = {name: 0 for name in self.counts}
        with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
            while left:
                self._run_worker(folder, left)

    def _run_worker(self, folder, left):
        """Runs one process, and removes what it did from `left`."""
        jobs = [str(part) for job in left.items() for part in job]
        command = [
            sys.executable,
            "-m",
            "tests.support.mutations.worker",
            folder,
            str(self._count),
            *jobs,
        ]
        with open(os.path.join(folder, "stderr.txt"), "w+", encoding="utf-8") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
            current = None
            try:
                for line in _read_lines(process):
                    if line is None:
                        assert current, _read_all(errors)
                        self._add(*current, "hung", LIMIT_SECONDS, "")
                        left[current[0]] = current[1] + 1
                        return
                    if "index" in line:
                        current = (line["reader"], line["index"])
                    elif "outcome" in line:
                        self._add(*current, line["outcome"], line["seconds"], line["detail"])
                        left[current[0]] = current[1] + 1
                        current = None
                    else:
                        del left[line["done"]]
            finally:
                process.kill()
                process.wait()
            if left:
                # Ended without a word: inside a read, or because the harness is broken.
                assert current, _read_all(errors)
                self._add(*current, "died", 0.0, f"exit {process.returncode}")
                left[current[0]] = current[1] + 1

    def _add(self, name, index, outcome, seconds, detail):
        if outcome == "read" and seconds > LIMIT_SECONDS:
            outcome = "hung"
        self.counts[name][kinds.KINDS[index % len(kinds.KINDS)].__name__][outcome] += 1
        self.slowest[name] = max(self.slowest[name], seconds)
        if outcome not in ("refused", "read"):
            self.failures[name].append({"index": index, "outcome": outcome, "detail": detail})

    def sum_outcomes(self, name: str) -> dict[str, int]:
        """Returns outcome -> number of inputs of a reader."""
        total = sum(self.counts[name].values(), collections.Counter())
        return {outcome: total[outcome] for outcome in OUTCOMES}

    def write(self, path: str) -> None:
        """Adds the counts to a JSON file under TensorFlow's version, and a table beside it.

        Args:
            path: the JSON file; may be absent. Readers that did not run now keep their counts.
        """
        content = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
        version = f"tensorflow {metadata.version('tensorflow')}"
        rows = content.get(version, {}).get("readers", {})
        for name, by_kind in self.counts.items():
            rows[name] = {
                **self.sum_outcomes(name),
                "slowest_seconds": round(self.slowest[name], 3),
                "kinds": {
                    kind: {key: found[key] for key in OUTCOMES if found[key]}
                    for kind, found in by_kind.items()
                },
            }
        content[version] = {
            "keras": metadata.version("keras"),
            "pillow": metadata.version("pillow"),
            "h5py": metadata.version("h5py"),
            "python": platform.python_version(),
            "inputs": sum(row[outcome] for row in rows.values() for outcome in OUTCOMES),
            "limit_seconds": LIMIT_SECONDS,
            "readers": dict(sorted(rows.items())),
        }
        files.write_json(path, dict(sorted(content.items())))
        files.write_text(os.path.splitext(path)[0] + ".md", format_table(content))


def format_table(content: dict) -> str:
    """Formats what `MutationRecord.write` wrote as a table in Markdown."""
    lines = []
    for version, run in content.items():
        lines += [f"## {version}", "", f"{run['inputs']:,} damaged inputs.", ""]
        lines.append("| reader | inputs | " + " | ".join(OUTCOMES) + " | slowest (s) |")
        lines.append("|---|" + "---:|" * (len(OUTCOMES) + 2))
        for name, row in run["readers"].items():
            numbers = [row[outcome] for outcome in OUTCOMES]
            cells = " | ".join(str(number) for number in (sum(numbers), *numbers))
            lines.append(f"| {name} | {cells} | {row['slowest_seconds']:.2f} |")
        lines.append("")
    return "\n".join(lines)


def _read_lines(process):
    """Yields the worker's lines as dicts; None, and then nothing, where it is silent too long."""
    buffer = b""
    busy = False
    while True:
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            content = json.loads(line)
            busy = "index" in content
            yield content
        limit = LIMIT_SECONDS if busy else _START_SECONDS
        end = time.monotonic() + limit
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            yield None
            return
        chunk = os.read(process.stdout.fileno(), 1 << 16)
        if not chunk:
            process.wait()
            return
        buffer += chunk


def _read_all(file):
    file.seek(0)
    return file.read()[-3000:]
