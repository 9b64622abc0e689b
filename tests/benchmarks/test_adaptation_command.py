"""The adaptation benchmark from its command line, at a tiny size."""

import json
import os

import pytest

from benchmarks.comparison import image_counts
from tests.support import calls
from tests.support import repository
from tests.support import streets
from tests.support.processes import command_driver

_TINY = ["SOURCE_STEPS = 2", "ROUNDS = 1", "STEPS_PER_ROUND = 1"]


def _call(*arguments):
    return calls.call_python("-m", "benchmarks.adaptation", *arguments)


def test_bad_flags_are_one_paragraph():
    rows = [
        ([], "--setup"),
        (["--setup=nowhere"], "streets2camvid"),
        (["--setup=streets", "--arms=drls"], "drsl"),
        (["--setup=streets", "--steps_scale=0"], "steps_scale"),
    ]
    command_driver.assert_all_refused("benchmarks.adaptation", rows, repository.ROOT)


@pytest.mark.slow
def test_runs_arms_and_does_nothing_twice(tmp_path):
    """The model selected is that of a run that another method has trained."""
    arguments = [
        "--setup=streets",
        "--seeds=1",
        "--arms=teacher_mic,selected,oracle",
        f"--output={tmp_path}/results",
        f"--work={tmp_path}/work",
        *(f"--gin_param={line}" for line in (*_TINY, *streets.list_demo_bindings(tmp_path))),
    ]
    result = _call(*arguments)
    assert result.returncode == 0, result.stderr[-3000:]
    stem = tmp_path / "results" / "adaptation_streets_trial"
    content = json.loads(stem.with_suffix(".json").read_text())
    assert set(content["arms"]) == {"teacher_mic", "selected", "oracle"}
    records = stem.with_suffix(".jsonl").read_text()
    rows = {row["arm"]: row for row in map(json.loads, records.splitlines())}
    assert rows.keys() == content["arms"].keys()
    assert content["arms"]["teacher_mic"] == {
        "seeds": [0],
        "miou": [rows["teacher_mic"]["miou"]],
        "source_stage_miou": [rows["teacher_mic"]["stages"][0]["miou"]],
        "pseudo_label_accuracy": [rows["teacher_mic"]["pseudo_label"]["accuracy"]],
    }
    assert rows["teacher_mic"]["miou"] == pytest.approx(rows["teacher_mic"]["stages"][-1]["miou"])
    choice = rows["selected"]["choice"]
    assert [each["name"] for each in choice["candidates"]] == [
        "the source stage",
        "the source stage with the target's batch statistics",
        "round 1",
    ]
    assert rows["selected"]["miou"] == pytest.approx(
        choice["candidates"][choice["chosen"]]["miou"], abs=0.01
    )
    assert content["arms"]["selected"]["regret"] == [choice["regret"]]
    runs = {os.path.basename(path) for path in (tmp_path / "work" / "streets").iterdir()}
    assert len({name for name in runs if name.startswith(("teacher", "selected"))}) == 1
    for row in rows.values():
        counts = image_counts.to_array(row["images"], len(row["iou"]))
        assert 100 * image_counts.compute_miou(counts.sum(axis=0)) == pytest.approx(row["miou"])
    assert os.path.getsize(stem.with_suffix(".png")) > 0
    # The command that is kept is the one that was run.
    assert "python -m drsl_tf.train --gin_file=benchmarks/streets.gin" in records

    again = _call(*arguments)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stdout.count("already done") == 3
    assert stem.with_suffix(".jsonl").read_text() == records
