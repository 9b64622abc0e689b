"""The training command as a user types it: help, errors, exit codes."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from drsl_tf.experiments import run_evaluation
from tests.support import calls
from tests.support import streets


def _call(*arguments, cwd):
    return calls.call_python("-m", "drsl_tf.train", *arguments, cwd=cwd)


def _make_params(folder, *lines):
    return [f"--gin_param={line}" for line in (*streets.list_demo_bindings(folder), *lines)]


def _assert_source_stage_is_kept(run_dir):
    """Checks that the checkpoint before adaptation scores what the source stage scored."""
    report = run_evaluation.evaluate_run(str(run_dir), checkpoint="source").as_dict()
    stages = json.loads((run_dir / "results.json").read_text())["stages"]
    assert report["miou"] == pytest.approx(stages[0]["miou"], abs=0.01)
    assert report["weights"] == "source stage, before adaptation"


def test_help_shows_examples_and_needs_no_tensorflow(tmp_path):
    result = _call("--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "--gin_file=gin_configs/demo.gin" in result.stdout + result.stderr
    code = "import sys; import drsl_tf.train; print('tensorflow' in sys.modules)"
    assert calls.read_output("-c", code).strip() == "False"


def test_the_run_directory_is_named_after_every_file(tmp_path):
    params = _make_params(tmp_path, "SOURCE_STEPS = -1")
    _call("--gin_file=demo.gin", "--gin_file=recipes/smoke.gin", *params, cwd=tmp_path)
    assert os.listdir(tmp_path / "runs") == ["demo-smoke"]


def test_debug_shows_the_traceback(tmp_path):
    result = _call("--gin_file=nowhere.gin", "--debug", cwd=tmp_path)
    assert result.returncode != 0 and "Traceback" in result.stderr


def test_a_missing_data_set_says_how_to_get_it(tmp_path):
    result = _call("--gin_file=synthia2cs.gin", "--run_dir=run", cwd=tmp_path)
    calls.assert_refused(result, "data/synthia", "render_streets")


def test_a_short_run_and_then_a_broken_data_set(tmp_path):
    steps = ("SOURCE_STEPS = 1", "ROUNDS = 1", "STEPS_PER_ROUND = 1")
    params = _make_params(tmp_path, *steps)
    result = _call("--gin_file=demo.gin", "--run_dir=run", *params, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "figure.png" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Adaptation ")
    produced = {"config.gin", "results.json", "figure.png", "pseudo_labels", "checkpoints"}
    assert produced <= set(os.listdir(tmp_path / "run"))
    _assert_source_stage_is_kept(tmp_path / "run")

    labels = tmp_path / "game" / "labels"
    first, second, third, _ = sorted(labels.iterdir())
    first.write_bytes(first.read_bytes()[:100])
    label = Image.open(second)
    wrong = Image.fromarray(np.full((32, 64), 200, np.uint8)).convert("P")
    wrong.putpalette(label.getpalette())
    wrong.frombytes(b"\xc8" * 32 * 64)
    wrong.save(second)
    third.unlink()
    result = _call("--gin_file=demo.gin", "--run_dir=other", *params, cwd=tmp_path)
    calls.assert_refused(result, first.name, second.name, third.name, "200", "skip")
    assert not (tmp_path / "other" / "checkpoints").exists()
