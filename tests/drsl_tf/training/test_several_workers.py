"""A run by two processes, broken off and started again, against a run by one.

DRSL_TF_WORKER_FAILURES says how often it is broken off; with `pytest -s` every time is printed.
"""

import os
import re
import signal
import time

import numpy as np
import pytest

from data_pipelines import cli
from drsl_tf.runs import run_lock
from tests.support.processes.worker_job import WorkerJob

pytestmark = pytest.mark.slow

# How long the others may take to notice, and end.
_BOUND_SECONDS = 60
# In turn: the signal, the process that gets it, and how many checkpoints later.
_FAILURES = (
    (signal.SIGKILL, 1, 2),
    (signal.SIGTERM, 1, 1),
    (signal.SIGKILL, 0, 1),
    (signal.SIGTERM, 0, 1),
)


def test_all_processes_are_refused_where_another_process_trains(tmp_path):
    job = WorkerJob(str(tmp_path), "locked", 2)
    with run_lock.lock_run(job.run_dir):
        codes = job.start().wait()
    assert codes == [2, 2], job.read_log(0)[-3000:] + job.read_log(1)[-3000:]
    for index in (0, 1):
        assert f"Another process trains in {job.run_dir}" in job.read_log(index)
        assert "Traceback" not in job.read_log(index)
    assert os.listdir(job.run_dir) == []


def test_two_processes_do_what_one_does(tmp_path):
    """One test, so that no worker of the suite trains both runs again."""
    one = WorkerJob(str(tmp_path), "one", 1).start()
    assert one.wait() == [0], one.read_log(0)[-3000:]
    two = _run_two(str(tmp_path))
    _compare_weights(one, two)
    _compare_pseudo_labels(one, two)
    _compare_scores(one, two)
    _compare_files(one, two)


def _run_two(folder):
    """The run by two processes, broken off now and then."""
    job = WorkerJob(folder, "two", 2).start()
    for number, index, wait in _FAILURES[: int(os.environ.get("DRSL_TF_WORKER_FAILURES", "1"))]:
        target = job.count_checkpoints() + wait
        job.wait_until(lambda target=target: job.count_checkpoints() >= target)
        began = time.monotonic()
        job.signal(index, number)
        codes = job.wait(_BOUND_SECONDS)
        print(f"\n{number.name} to worker {index}: {time.monotonic() - began:.1f} s, {codes}")
        _check_end(job, number, index, codes)
        job.start()
        job.wait_until(lambda: all("Resuming at" in job.read_log(i) for i in (0, 1)))
        places = {re.search(r"Resuming at (.*), from", job.read_log(i)).group(1) for i in (0, 1)}
        print(f"both resumed at {places}")
        assert len(places) == 1
    assert job.wait() == [0, 0], job.read_log(0)[-3000:] + job.read_log(1)[-3000:]
    return job


def _check_end(job, number, index, codes):
    other = 1 - index
    assert codes[other] == cli.EXIT_STOPPED_EARLY, job.read_log(other)[-3000:]
    assert "Traceback" not in job.read_log(other)
    if number == signal.SIGKILL:
        assert codes[index] == -signal.SIGKILL
        assert "Another worker of this job ended" in job.read_log(other)
        assert "Run the same command on every machine again" in job.read_log(other)
    else:
        assert codes[index] == cli.EXIT_STOPPED_EARLY
        assert "Stopped by SIGTERM" in job.read_log(index)


def _compare_weights(one, two):
    variables, others = one.read_variables(), two.read_variables()
    assert variables.keys() == others.keys()
    largest = max(np.abs(array - others[key]).max() for key, array in variables.items())
    print(f"largest difference of any variable {largest:.1e}")
    assert largest < 1e-5


def _compare_pseudo_labels(one, two):
    report, other = (job.read_results()["stages"][1]["pseudo_label"] for job in (one, two))
    for name, threshold in report["thresholds"].items():
        # The bins are uniform in -log(1 - p) up to that of the last float64 below 1.
        doubts = [max(1 - value, 2.0**-53) for value in (threshold, other["thresholds"][name])]
        assert abs(np.diff(np.log(doubts))[0]) <= 1.01 * 53 * np.log(2) / 4096
    labels, others = (job.read_labels("pseudo_labels/round_1") for job in (one, two))
    assert labels.keys() == others.keys() and len(labels) == 5
    equal = np.concatenate([(labels[name] == others[name]).ravel() for name in labels])
    print(f"equal pseudo-labels: {equal.sum()} of {equal.size}")
    assert equal.mean() >= 0.999
    assert report["fraction"] > 0.05


def _compare_scores(one, two):
    results, others = one.read_results(), two.read_results()
    assert results["versions"] == others["versions"]
    for stage, other in zip(results["stages"], others["stages"]):
        assert stage["round"] == other["round"]
        assert stage["miou"] == pytest.approx(other["miou"], abs=0.1)
        assert stage["iou"].keys() == other["iou"].keys()
        scores = stage["label_free"]
        assert scores["pixels"].keys() == other["label_free"]["pixels"].keys()
        for key in ("images", "entropy", "marginal_entropy", "density"):
            assert scores[key] == pytest.approx(other["label_free"][key], rel=1e-3)
    assert results["selected"]["score"] == pytest.approx(others["selected"]["score"], rel=1e-2)


def _compare_files(one, two):
    def list_files(job):
        found = set()
        for place, _, names in os.walk(job.run_dir):
            found |= {os.path.relpath(os.path.join(place, name), job.run_dir) for name in names}
        # Checkpoints are numbered on, and event files are one more for every start.
        return {name for name in found if "ckpt" not in name and "tfevents" not in name}

    assert list_files(one) == list_files(two)
    assert {"results.json", "figure.png", "config.gin"} < list_files(two)
    starts = 1 + int(os.environ.get("DRSL_TF_WORKER_FAILURES", "1"))
    events = [name for name in os.listdir(os.path.join(two.run_dir, "tensorboard"))]
    alone = [name for name in os.listdir(os.path.join(one.run_dir, "tensorboard"))]
    count = sum("tfevents" in name for name in events)
    assert 0 < count <= starts * sum("tfevents" in name for name in alone)
