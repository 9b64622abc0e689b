"""The adaptation benchmark from its command line, at a tiny size."""

import json
import os
import subprocess
import sys

import pytest

_TINY = [
    "game/rendered.rendered_root.count = 4",
    "game/rendered.rendered_root.size = (32, 64)",
    "camera/rendered.rendered_root.count = 2",
    "camera/rendered.rendered_root.val_count = 1",
    "camera/rendered.rendered_root.size = (32, 64)",
    "CROP = (32, 64)",
    "WEIGHTS = None",
    "SOURCE_STEPS = 2",
    "ROUNDS = 1",
    "STEPS_PER_ROUND = 1",
]


def _call(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.adaptation", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


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
    result = _call(*arguments)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert word in result.stderr


@pytest.mark.slow
def test_runs_arms_and_does_nothing_twice(tmp_path):
    roots = [
        f"{style}/rendered.rendered_root.root = '{tmp_path}/{style}'"
        for style in ("game", "camera")
    ]
    arguments = [
        "--setup=streets",
        "--seeds=1",
        "--arms=cbst,oracle",
        f"--output={tmp_path}/results",
        f"--work={tmp_path}/work",
        *(f"--gin_param={line}" for line in (*_TINY, *roots)),
    ]
    result = _call(*arguments)
    assert result.returncode == 0, result.stderr[-3000:]
    stem = tmp_path / "results" / "adaptation_streets_trial"
    content = json.loads(stem.with_suffix(".json").read_text())
    assert content["seeds"] == [0] and set(content["arms"]) == {"cbst", "oracle"}
    assert 0 <= content["arms"]["cbst"]["miou"][0] <= 100
    assert 0 <= content["arms"]["cbst"]["pseudo_label_accuracy"][0] <= 1
    records = stem.with_suffix(".jsonl").read_text()
    assert len(records.splitlines()) == 2
    assert os.path.getsize(stem.with_suffix(".png")) > 0
    # The command that is kept is the one that was run.
    assert "python -m drsl_tf.train --gin_file=benchmarks/streets_cbst.gin" in records

    again = _call(*arguments)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stdout.count("already done") == 2
    assert stem.with_suffix(".jsonl").read_text() == records
