"""Reading of what a run recorded: every value that the program works with is checked first.

A record may come from elsewhere, or from a disk that spoilt it; what passes here can be resumed
and reported on.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from data_pipelines.errors import UserError
from drsl_tf import files

SCHEMA = 1

_MOST_ROUNDS = 10_000
_LARGEST = 1e15


def read_results(path: str) -> dict[str, Any]:
    """Reads and checks the record of a run.

    Args:
        path: the file `results.json`.

    Returns:
        Its content, under the schema of `docs/runs.md`.

    Raises:
        UserError: it cannot be read, is of another schema, or holds a value that no run writes.
    """
    content = files.read_json(path)
    if content.get("schema") != SCHEMA:
        raise UserError(
            f"{os.path.abspath(path)} has the schema {content.get('schema')!r}, and this program "
            f"reads {SCHEMA}. Use the version that wrote it."
        )
    mend = "Put a copy of it back."
    with _explaining(path, "not the record of a run", "a run writes", mend):
        _check(isinstance(content.get("experiment"), str), "experiment")
        _check(_is_whole(content.get("seed")), "seed")
        _check(isinstance(content.get("initial_run"), (str, type(None))), "initial_run")
        versions = content.get("versions", ())
        _check(isinstance(versions, dict), "versions")
        _check(all(isinstance(version, str) for version in versions.values()), "versions")
        _check(isinstance(content.get("stages"), list), "stages")
        for place, stage in enumerate(content["stages"]):
            _check_stage(stage, f"stages[{place}]")
        rounds = [stage["round"] for stage in content["stages"]]
        _check(rounds == sorted(set(rounds)), "stages[].round")
    return content


def read_label_report(path: str) -> dict[str, Any]:
    """Reads and checks the report of a round's pseudo-labels.

    Args:
        path: the file `report.json`.

    Returns:
        Its content, as `PseudoLabeler.generate` gives it.

    Raises:
        UserError: it cannot be read, or holds a value that no run writes.
    """
    mend = "Put a copy of it back, or start over with --fresh."
    what = "not the report of a round's pseudo-labels"
    with _explaining(path, what, "a run writes", mend):
        content = files.read_json(path)
        _check(_is_whole(content.get("round")), "round")
        _check(_is_number(content.get("portion")), "portion")
        _check(isinstance(content.get("pixels"), dict), "pixels")
        _check_report(content, "report", None)
    return content


def read_evaluation(path: str) -> dict[str, Any]:
    """Reads and checks what `drsl_tf.evaluate` found.

    Args:
        path: the file `evaluation.json`.

    Returns:
        Its content, as `EvaluationReport.as_dict` gives it.

    Raises:
        UserError: it cannot be read, or holds a value that no evaluation gives.
    """
    mend = "Run drsl_tf.evaluate again, or delete the file."
    with _explaining(path, "no evaluation", "an evaluation gives", mend):
        content = files.read_json(path)
        for key in ("target", "split"):
            _check(isinstance(content.get(key), str), key)
        for key in ("weights", "testing", "protocols"):
            _check(key in content, key)
        weights, testing = content["weights"], content["testing"]
        if weights is not None:
            _check(isinstance(weights, str), "weights")
            _check(isinstance(testing, dict), "testing")
            _check(isinstance(testing.get("name"), str), "testing.name")
        _check_scores(content, "evaluation")
    return content


def find_best_round(stages: Sequence[dict[str, Any]]) -> int | None:
    """Finds the round of highest mIoU, which is chosen with target labels.

    Args:
        stages: those of `results.json`.

    Returns:
        The first such round; None where none was scored.
    """
    scored = [stage for stage in stages if stage["miou"] is not None]
    return max(scored, key=lambda stage: stage["miou"])["round"] if scored else None


class _EntryError(ValueError):
    """Names the entry that cannot be."""


@contextlib.contextmanager
def _explaining(path: str, what: str, writer: str, mend: str) -> Iterator[None]:
    """Adds the mend to what is said of a file, and says which entry of it cannot be."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error} {mend}") from error
    except _EntryError as error:
        raise UserError(
            f"{os.path.abspath(path)} is {what}: its entry {error} is missing or no such value as "
            f"{writer}. {mend}"
        ) from error


def _check_stage(stage, name):
    _check(isinstance(stage, dict), name)
    round_index = stage.get("round")
    _check(_is_whole(round_index) and 0 <= round_index < _MOST_ROUNDS, f"{name}.round")
    names = _check_scores(stage, name)
    _check(_is_number(stage.get("seconds")), f"{name}.seconds")
    _check(_is_number(stage.get("steps"), optional=True), f"{name}.steps")
    warnings = stage.get("warnings", [])
    _check(isinstance(warnings, list), f"{name}.warnings")
    _check(all(isinstance(warning, str) for warning in warnings), f"{name}.warnings")
    _check("pseudo_label" in stage, f"{name}.pseudo_label")
    report = stage["pseudo_label"]
    if report is not None:
        _check_report(report, f"{name}.pseudo_label", names)


def _check_scores(entry, name):
    """Checks IoUs and their means; gives the classes' names."""
    _check("miou" in entry and _is_number(entry["miou"], optional=True), f"{name}.miou")
    _check("iou" in entry, f"{name}.iou")
    protocols = entry.get("protocols", {})
    _check(isinstance(protocols, dict), f"{name}.protocols")
    for key, scores in protocols.items():
        found = isinstance(scores, dict) and _is_number(scores.get("miou"), optional=True)
        _check(found, f"{name}.protocols.{key}")
    return _check_classes(entry, "iou", name, None)


def _check_report(report, name, names):
    _check(isinstance(report, dict), name)
    _check(_is_number(report.get("fraction")), f"{name}.fraction")
    _check(_is_number(report.get("accuracy"), optional=True), f"{name}.accuracy")
    names = _check_classes(report, "thresholds", name, names)
    _check(names is not None, f"{name}.thresholds")
    for key in ("fractions", "accuracies", "pixels"):
        _check_classes(report, key, name, names)
    usage = report.get("mode_usage")
    if usage is not None:
        _check(isinstance(usage, dict) and list(usage) == names, f"{name}.mode_usage")
        for counts in usage.values():
            _check(isinstance(counts, list) and all(map(_is_number, counts)), f"{name}.mode_usage")


def _check_classes(entry, key, name, names):
    """Checks a value for each class, or none at all; gives the classes' names."""
    values = entry.get(key)
    if values is None:
        return names
    _check(isinstance(values, dict), f"{name}.{key}")
    _check(all(_is_number(value, optional=True) for value in values.values()), f"{name}.{key}")
    _check(names is None or list(values) == names, f"{name}.{key}")
    return list(values)


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value, optional=False):
    if value is None:
        return optional
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < _LARGEST and not math.isnan(value)


def _check(holds, name):
    if not holds:
        raise _EntryError(name)
