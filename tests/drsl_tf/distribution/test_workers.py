"""Two processes of one job: what they agree on, and what they label and score together."""

import json
import os
import signal
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipelines import cli
from data_pipelines.errors import UserError
from data_pipelines.streets import rendered
from drsl_tf.distribution import strategy as strategies
from tests.support.processes import local_jobs
from tests.support.processes import workers_check

_BOUND_SECONDS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a target of 5 + 3 images, neither of which divides by 2."""
    made = tmp_path_factory.mktemp("workers")
    rendered.rendered_root(
        root=str(made / "camera"),
        layout="cityscapes",
        style="camera",
        count=5,
        val_count=3,
        size=(32, 64),
        seed=5,
    )
    return made


@pytest.fixture(scope="module")
def found(folder):
    """What both processes found, before the second killed itself and the first noticed."""
    command = [sys.executable, "-m", "tests.support.processes.workers_check", str(folder)]
    logs = [folder / "0.txt", folder / "1.txt"]
    started = local_jobs.start_job(command, 2, lambda index: str(logs[index]))
    try:
        codes = [started[1].wait(400), started[0].wait(_BOUND_SECONDS)]
    finally:
        for process in started:
            process.kill()
    log = logs[0].read_text()
    assert codes == [-signal.SIGKILL, cli.EXIT_STOPPED_EARLY], log + logs[1].read_text()
    assert "Another worker of this job ended or cannot be reached" in log
    assert "Traceback" not in log
    return [json.loads((folder / f"{index}.json").read_text()) for index in (0, 1)]


@pytest.fixture(scope="module")
def single(folder):
    """What one process finds alone."""
    strategy = strategies.create_strategy()
    return workers_check.label_and_score(strategy, str(folder / "camera"), str(folder / "single"))


def test_they_know_their_places_and_share_without_overlap(found):
    assert [(each["index"], each["count"]) for each in found] == [(0, 2), (1, 2)]
    assert found[0]["share"] + found[1]["share"] == list("abcde")
    assert abs(len(found[0]["share"]) - len(found[1]["share"])) == 1
    assert sorted(found[0]["empty_share"] + found[1]["empty_share"]) == ["a"]


def test_sums_are_exact_beyond_the_precision_of_floats(found):
    for each in found:
        assert each["sum"] == [2 * (2**53 + 1) + 1, 6]


def test_they_do_things_together_or_fail_together(found):
    for each in found:
        assert each["asked"] == {"index": 0}
        assert each["together"] == [0, 1]
        assert each["chief_failed"] == "On worker 0 of 2: the disk is full"
        assert each["one_failed"] == "On worker 1 of 2: the disk is full"


def test_another_command_on_one_machine_is_refused(found):
    for each in found:
        assert each["equal"] is None
        assert "differ in: the source's images." in each["differ"]
        assert "seed" not in each["differ"]


def test_a_signal_to_one_stops_all_after_the_same_step(found):
    for each in found:
        assert each["told"] == [[1, False], [2, False], [3, False], [4, False], [5, True]]


def test_statistics_become_their_mean_and_what_is_equal_stays(found):
    for each in found:
        assert each["evened"] == [[1.0, float(np.float32(0.1))]]


def test_the_chief_writes_checkpoints_and_all_restore_the_same(found):
    for each in found:
        checkpoint = each["checkpoint"]
        assert checkpoint["saved"] == checkpoint["restored"] == "ckpt-1"
        assert checkpoint["step"] == 3, "the chief's"
        assert checkpoint["same"]
        assert [name.split(".")[-1][:5] for name in checkpoint["files"]] == [
            "check", "data-", "index"
        ]  # fmt: skip


def test_pseudo_labels_are_those_of_one_process(found, single, folder):
    report = single["report"]
    for each in found:
        for name, threshold in report["thresholds"].items():
            # The bins are uniform in -log(1 - p) up to that of the last float64 below 1.
            twin = each["report"]["thresholds"][name]
            doubts = np.log([max(1 - value, 2.0**-53) for value in (threshold, twin)])
            assert abs(doubts[0] - doubts[1]) <= 1.01 * 53 * np.log(2) / 4096
        assert each["report"]["mode_usage"].keys() == report["mode_usage"].keys()
        assert sum(map(sum, each["report"]["mode_usage"].values())) == 5 * 32 * 64 / 64
    assert found[0]["report"] == found[1]["report"]
    equal = total = 0
    for place, _, names in os.walk(folder / "single"):
        for name in names:
            if name.endswith(".png"):
                path = os.path.join(place, name)
                other = os.path.join(folder, "labels", os.path.relpath(path, folder / "single"))
                label, twin = (np.asarray(Image.open(p)) for p in (path, other))
                equal += int((label == twin).sum())
                total += label.size
    assert total == 5 * 32 * 64
    assert equal >= 0.9999 * total
    assert report["fraction"] > 0


def test_scores_are_those_of_one_process(found, single):
    assert found[0]["confusion"] == found[1]["confusion"]
    one, two = np.array(single["confusion"]), np.array(found[0]["confusion"])
    assert one.sum() == two.sum()
    assert np.abs(one - two).sum() <= 2e-4 * one.sum()
    shown = [entry[0] for each in found for entry in each["shown"]]
    assert shown == [entry[0] for entry in single["shown"]]


@pytest.mark.parametrize(
    "config",
    [
        "no JSON",
        '{"cluster": {"worker": ["a:1", "b:2"]}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_one_clear_error(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match="TF_CONFIG does not describe a cluster"):
        strategies.read_task_index()


def test_an_address_in_use_is_one_clear_error(monkeypatch):
    def fail():
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server")

    task = {"type": "worker", "index": 1}
    cluster = {"worker": ["a:1", "b:2"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", fail)
    with pytest.raises(UserError, match="b:2 as this worker's address.*start gRPC server"):
        strategies.create_strategy()


def test_the_chief_comes_before_the_workers(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    for kind, index, expected in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        task = {"type": kind, "index": index}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        assert strategies.read_task_index() == expected
