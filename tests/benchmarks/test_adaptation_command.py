"""The adaptation benchmark from its command line, at a tiny size."""

import json
import os

import pytest

from benchmarks import image_counts
from tests.support import calls
from tests.support import streets

_TINY = ["SOURCE_STEPS = 2", "ROUNDS = 1", "STEPS_PER_ROUND = 1"]


def _call(*arguments):
    return calls.call_python("-m", "benchmarks.adaptation", *arguments)


@pytest.mark.parametrize(
    "arguments, word",
    [
        ([], "--setup"),
        (["--setup=nowhere"], "streets2camvid"),
        (["--setup=streets", "--arms=drls"], "drsl"),
        (["--setup=streets", "--steps_scale=0"], "steps_scale"),
    ],
)
def test_bad_flags_are_one_paragraph(arguments, word):
    calls.assert_refused(_call(*arguments), word)


@pytest.mark.slow
def test_runs_arms_and_does_nothing_twice(tmp_path):
    arguments = [
        "--setup=streets",
        "--seeds=1",
        "--arms=cbst,oracle",
        f"--output={tmp_path}/results",
        f"--work={tmp_path}/work",
        *(f"--gin_param={line}" for line in (*_TINY, *streets.list_demo_bindings(tmp_path))),
    ]
    result = _call(*arguments)
    assert result.returncode == 0, result.stderr[-3000:]
    stem = tmp_path / "results" / "adaptation_streets_trial"
    content = json.loads(stem.with_suffix(".json").read_text())
    assert content["seeds"] == [0] and set(content["arms"]) == {"cbst", "oracle"}
    records = stem.with_suffix(".jsonl").read_text()
    rows = {row["arm"]: row for row in map(json.loads, records.splitlines())}
    assert rows.keys() == content["arms"].keys()
    assert content["arms"]["cbst"] == {
        "miou": [rows["cbst"]["miou"]],
        "source_stage_miou": [rows["cbst"]["stages"][0]["miou"]],
        "pseudo_label_accuracy": [rows["cbst"]["pseudo_label"]["accuracy"]],
    }
    for row in rows.values():
        counts = image_counts.to_array(row["images"], len(row["iou"]))
        assert 100 * image_counts.compute_miou(counts.sum(axis=0)) == pytest.approx(row["miou"])
    assert os.path.getsize(stem.with_suffix(".png")) > 0
    # The command that is kept is the one that was run.
    assert "python -m drsl_tf.train --gin_file=benchmarks/streets.gin" in records

    again = _call(*arguments)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stdout.count("already done") == 2
    assert stem.with_suffix(".jsonl").read_text() == records
