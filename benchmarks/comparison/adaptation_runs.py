"""Runs the methods by the training command and records the results."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.comparison import image_counts
from benchmarks.comparison.adaptation_plan import Plan
from data_pipelines import cli
from data_pipelines.errors import UserError
from drsl_tf.runs import run_lock
from drsl_tf.runs.label_report import read_label_report
from drsl_tf.runs.results_schema import read_results
from drsl_tf.runs.run_directory import RunDirectory


class RecordFile:
    """Append-only file with one line of JSON per finished run.

    Args:
        path: the file; it may be absent.
    """

    def __init__(self, path: str):
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Reads all records.

        Returns:
            Dicts in the order of writing, without a line that was cut off by a kill.
        """
        if not os.path.exists(self.path):
            return []
        records = []
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                try:
                    records.append(json.loads(line))
                except json.JSONDecodeError:
                    continue
        return records

    def append(self, *records: dict[str, Any]) -> None:
        """Appends records in one write and flushes them to disk (fsync).

        Args:
            *records: dicts that JSON can represent.
        """
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        torn = False
        if os.path.exists(self.path) and os.path.getsize(self.path):
            with open(self.path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                torn = file.read() != b"\n"
        with open(self.path, "a", encoding="utf-8") as file:
            # Do not append to a line that was cut off by a kill.
            lines = [json.dumps(record, allow_nan=False) + "\n" for record in records]
            file.write("\n" * torn + "".join(lines))
            file.flush()
            os.fsync(file.fileno())


def select_newest(
    records: Iterable[dict[str, Any]], arm: str, plan: Plan
) -> dict[int, dict[str, Any]]:
    """Selects the records of one method.

    Args:
        records: in the order of writing.
        arm: name of the method.
        plan: its plan.

    Returns:
        The newest record of each seed, in the order of the seeds.
    """
    key = (plan.setup_name, arm, plan.fingerprint)
    found = {r["seed"]: r for r in records if (r["setup"], r["arm"], r["fingerprint"]) == key}
    return {seed: found[seed] for seed in sorted(found)}


class TrainedRun:
    """A run, and the commands that led to it.

    Args:
        run_dir: its directory.
    """

    def __init__(self, run_dir: str):
        self.run_dir = run_dir
        self.commands: list[list[str]] = []
        self.began = time.time()

    def call(self, module: str, *arguments: str) -> None:
        """Calls a command, and keeps it.

        Args:
            module: the module.
            *arguments: its flags.

        Raises:
            UserError: the command failed; names the run's log.
        """
        command = _make_command(module, *arguments)
        _call(command, f"{self.run_dir}.log")
        self.commands.append(command)


def score(run: TrainedRun, *, selected: bool = False) -> dict[str, Any]:
    """Scores a model of a run.

    Args:
        run: the finished run.
        selected: whether to score the model that the run selected without labels, not the last.

    Returns:
        The scores of the stages, the pseudo-labels and the validation images; of a selected model
        also "choice", see `selection_regret.compare_choice`.

    Raises:
        UserError: the command failed; names its log.
    """
    labels_path = os.path.join(run.run_dir, "pseudo_label_quality.json")
    images_path = os.path.join(run.run_dir, "image_counts.json")
    arguments = [
        f"--run_dir={run.run_dir}",
        f"--pseudo_labels={labels_path}",
        f"--images={images_path}",
    ]
    if not selected:
        run.call("benchmarks.score_run", *arguments)
        return _summarise(run.run_dir, labels_path, images_path)
    choice_path = os.path.join(run.run_dir, "choice.json")
    run.call("benchmarks.score_run", *arguments, f"--choice={choice_path}")
    results = _summarise(run.run_dir, labels_path, images_path)
    return {**results, "choice": _read_json(choice_path)}


def make_record(
    run: TrainedRun, *, arm: str, seed: int, plan: Plan, results: dict[str, Any]
) -> dict[str, Any]:
    """Creates the record of a run.

    Args:
        run: the finished run.
        arm: name of the method.
        seed: the run's seed.
        plan: its plan.
        results: what was measured.

    Returns:
        What `RecordFile` stores.
    """
    return {
        "setup": plan.setup_name,
        "arm": arm,
        "seed": seed,
        "fingerprint": plan.fingerprint,
        "steps": plan.steps,
        **results,
        "wall_seconds": round(time.time() - run.began, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "code": _describe_code(),
        "commands": [
            shlex.join(["python", *c[1:]] if c[0] == sys.executable else c) for c in run.commands
        ],
    }


class ArmRunner:
    """Trains methods one after the other, each in its own process.

    Args:
        setup_name: name of the setup.
        work_dir: folder of run directories, kept so that interrupted runs resume.
    """

    def __init__(self, setup_name: str, work_dir: str):
        self._folder = os.path.join(work_dir, setup_name)

    def train(self, plan: Plan, seed: int) -> TrainedRun:
        """Trains one method with one seed.

        Methods that differ only after the source stage share it: its run directory, including the
        checkpoint, is copied, and each method's command resumes from it. A method without access
        to the source has it as its initial run. Methods that score different models of a run share
        it: the second finds it finished.

        Args:
            plan: the training plan.
            seed: the seed.

        Returns:
            The finished run.

        Raises:
            UserError: a command failed; names its log.
        """
        run = TrainedRun(os.path.join(self._folder, plan.run_name, f"seed_{seed}"))
        initial_run = None
        if plan.initial:
            initial_run, train = self._train_source(plan.initial, seed)
            run.commands.append(train)
        else:
            source_dir, train = self._train_source(plan, seed)
            _copy_source(source_dir, run.run_dir)
            run.commands += [
                train,
                ["cp", "-r", source_dir, run.run_dir],
                ["rm", RunDirectory(run.run_dir).config],
            ]
        run.call("drsl_tf.train", *plan.make_arguments(seed, run.run_dir, initial_run=initial_run))
        return run

    def run(self, arm_name: str, plan: Plan, seed: int) -> dict[str, Any]:
        """Trains and scores one method with one seed.

        Args:
            arm_name: name of the method.
            plan: the training plan.
            seed: the seed.

        Returns:
            The record of the run.

        Raises:
            UserError: a command failed; names its log.
        """
        run = self.train(plan, seed)
        return make_record(
            run,
            arm=arm_name,
            seed=seed,
            plan=plan,
            results=score(run, selected=plan.scores_selected),
        )

    def _train_source(self, plan, seed):
        """Trains the source stage of a plan; returns its run directory and the command."""
        source_dir = os.path.join(self._folder, f"source_{plan.source_fingerprint}", f"seed_{seed}")
        command = _make_command(
            "drsl_tf.train", *plan.make_arguments(seed, source_dir, rounds=False)
        )
        done = f"{source_dir}.done"
        if not os.path.exists(done):
            with run_lock.lock_run(source_dir), contextlib.suppress(FileNotFoundError):
                # Another method may have begun this stage, which does not read what differs.
                os.remove(RunDirectory(source_dir).config)
            _call(command, f"{source_dir}.log")
            with open(done, "w", encoding="utf-8"):
                pass
        return source_dir, command


def run_missing(
    order: Iterable[tuple[int, str]],
    plans: Mapping[str, Plan],
    records: RecordFile,
    run: Callable[[str, Plan, int], dict[str, Any]],
    report: Callable[[], Any],
) -> list[str]:
    """Does the runs that have no record yet, and appends their records.

    A record without the pixel counts of the images, as older ones are, counts as none: claims need
    them.

    Args:
        order: seeds and names of methods, in the order in which to run them.
        plans: plans by method.
        records: the file of finished runs.
        run: (method, plan, seed) -> record.
        report: called after every run.

    Returns:
        A message for each run that failed; the others were done.
    """
    failures = []
    for seed, name in order:
        plan = plans[name]
        done = select_newest(records.read(), name, plan)
        if "images" in done.get(seed, {}):
            print(f"{name}, seed {seed}: already done.")
            continue
        print(f"{name}, seed {seed}: running.", flush=True)
        try:
            record = run(name, plan, seed)
        except UserError as error:
            failures.append(f"{name}, seed {seed}: {error}")
            print(f"{failures[-1]}", file=sys.stderr, flush=True)
            continue
        records.append(record)
        print(
            f"{name}, seed {seed}: mIoU {record['miou']:.2f} %, {record['wall_seconds']:.0f} s.",
            flush=True,
        )
        report()
    if failures:
        print("Failed, the same command tries again:\n" + "\n".join(failures), file=sys.stderr)
    return failures


def _make_command(module, *arguments):
    return [sys.executable, "-m", module, *arguments]


def _copy_source(source_dir, run_dir):
    """Copies a run directory without its configuration."""
    if os.path.exists(run_dir):
        return
    partial = f"{run_dir}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    config = os.path.basename(RunDirectory(source_dir).config)
    shutil.copytree(source_dir, partial, ignore=shutil.ignore_patterns(config))
    os.rename(partial, run_dir)


def _call(command, log_path):
    os.makedirs(os.path.dirname(log_path), exist_ok=True)
    with open(log_path, "a", encoding="utf-8") as log:
        log.write(f"$ {shlex.join(command)}\n")
        log.flush()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            code = process.wait()
        finally:
            if process.poll() is None:
                # Training saves a checkpoint first, and the next call resumes from it.
                process.terminate()
                process.wait()
    if code == cli.EXIT_STOPPED_EARLY:
        sys.exit(code)
    if code:
        with open(log_path, encoding="utf-8", errors="replace") as log:
            lines = [line for line in log.read().splitlines() if line.strip()]
        raise UserError(f"A command ended with code {code}; {log_path} ends: {lines[-1]}")


def _summarise(run_dir, labels_path, images_path):
    """Collects the scores of a run, its pseudo-labels and its validation images."""
    results = read_results(RunDirectory(run_dir).results)
    quality = read_label_report(labels_path)
    images = _read_json(images_path)
    stages = results.stages
    assert stages[-1].iou is not None  # The setups have labels.
    names = list(stages[-1].iou)
    counts = image_counts.to_array(images, len(names)).sum(axis=0)
    iou = image_counts.compute_iou(counts)
    return {
        "miou": 100.0 * float(image_counts.compute_miou(counts)),
        "iou": {n: None if np.isnan(v) else 100.0 * float(v) for n, v in zip(names, iou)},
        "stages": [
            {
                "round": stage.round,
                "miou": stage.miou,
                "seconds": stage.seconds,
                **{
                    key: stage.pseudo_label and getattr(stage.pseudo_label, key)
                    for key in ("fraction", "accuracy")
                },
            }
            for stage in stages
        ],
        "pseudo_label": {
            key: getattr(quality, key)
            for key in ("portion", "fraction", "accuracy", "accuracies", "mode_usage")
        },
        "images": images,
        "versions": results.versions,
    }


def _read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _describe_code():
    """Returns the commit, and whether files differ from it."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
