"""Real training processes, killed at random moments and started again.

DRSL_TF_KILLS says how many kills; with `pytest -s` every one is printed as a row of a table.
"""

import os
import random
import signal
import time

import pytest

from data_pipelines import cli
from tests.drsl_tf.training_process import CHECKPOINT_EVERY
from tests.drsl_tf.training_process import TrainingProcess
from tests.drsl_tf.training_process import assert_equal_runs

pytestmark = pytest.mark.slow

# What to wait for, in the order in which a run meets it, and the longest wait after it: so many
# further steps, or so many seconds, about as long as the phase takes.
_MOMENTS = (
    ("source stage: training", "steps", 9),
    ("source stage: training", "checkpoint", 0.0),
    ("round 0: scoring", "begin", 0.4),
    ("round 1: predicting", "begin", 0.8),
    ("round 1: labelling", "begin", 0.1),
    ("round 1: training", "steps", 9),
    ("round 1: training", "checkpoint", 0.0),
    ("round 1: scoring", "begin", 0.4),
    ("round 2: predicting", "begin", 0.8),
    ("round 2: training", "begin", 2.0),
)
_PHASES = list(dict.fromkeys(phase for phase, _, _ in _MOMENTS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbs."""
    run = TrainingProcess(str(tmp_path_factory.mktemp("kills")), "whole").start()
    assert run.wait() == 0, run.read_errors()[-2000:]
    return run


def _make_twin(whole, name):
    return TrainingProcess(os.path.dirname(whole.run_dir), name)


def _plan_moments(count, rng):
    """Spreads kills over the moments, in the order in which a run meets them."""
    places = list(range(len(_MOMENTS)))
    chosen = places * (count // len(places)) + rng.sample(places, count % len(places))
    return [_MOMENTS[place] for place in sorted(chosen)]


def _reach(run, phase, kind, longest, rng):
    """Waits for a moment, or for where the run is if that lies behind; False where it ended."""
    later = _PHASES[_PHASES.index(phase) :] + ["round 2: labelling", "round 2: scoring"]
    if not run.wait_until(lambda: run.find_phase() in later):
        return False
    if kind == "checkpoint":
        return run.wait_until(run.is_writing_checkpoint)
    if kind == "steps" and run.find_phase() == phase:
        known = len(run.read_steps()) + rng.randint(0, longest)
        if not run.wait_until(lambda: len(run.read_steps()) > known or run.find_phase() != phase):
            return False
        longest = 0.05
    time.sleep(rng.uniform(0, longest))
    return run.is_running()


def _start_again(run, kill):
    """Starts a run once more, and accounts for the kill before."""
    run.start()
    if kill is None:
        return
    assert run.wait_until(lambda: run.read_resumption() is not None), run.read_errors()[-2000:]
    before, resumed = kill["before"], run.read_resumption()
    lost = before[1] - resumed[1] if before[0] == resumed[0] else 0
    print(f"| {kill['number']} | {kill['phase']} | {before} | {resumed} | {lost} |", flush=True)
    assert 0 <= lost <= CHECKPOINT_EVERY
    assert resumed >= before or resumed[0] == before[0]


def test_kills_at_random_moments_change_nothing(whole):
    count = int(os.environ.get("DRSL_TF_KILLS", "2"))
    rng = random.Random(int(os.environ.get("DRSL_TF_KILLS_SEED", "0")))
    run = _make_twin(whole, "killed")
    kill, kills = None, 0
    print("\n| kill | phase | (round, steps done) before | resumed at | steps lost |")
    for phase, kind, longest in _plan_moments(count, rng):
        _start_again(run, kill)
        kill = None
        if not _reach(run, phase, kind, longest, rng):
            assert run.wait() == 0, run.read_errors()[-2000:]
            continue
        run.signal(signal.SIGKILL)
        kills += 1
        found = run.find_phase()
        if run.is_writing_checkpoint():
            found += ", inside a checkpoint write"
        steps = run.read_steps()
        kill = {"number": kills, "phase": found, "before": steps[-1] if steps else (0, 0)}
    _start_again(run, kill)
    assert run.wait() == 0, run.read_errors()[-2000:]
    assert kills >= count / 2
    assert_equal_runs(run, whole)


def test_sigterm_saves_the_step_it_finishes(whole):
    run = _make_twin(whole, "terminated").start()
    assert _reach(run, "round 1: training", "steps", 9, random.Random(0))
    assert run.signal(signal.SIGTERM) == cli.EXIT_STOPPED_EARLY
    assert "Run the same command again" in run.read_errors()
    assert "Traceback" not in run.read_errors()
    before = run.read_steps()[-1]
    run.start()
    assert run.wait_until(lambda: run.read_resumption() is not None)
    assert run.read_resumption() == before
    assert run.wait() == 0
    assert_equal_runs(run, whole)


def test_another_configuration_is_refused_and_fresh_keeps_the_old_run(whole, tmp_path):
    results = whole.read_results()
    other = ("ROUNDS = 0", "SOURCE_STEPS = 2")
    run = _make_twin(whole, "whole").start(params=other)
    assert run.wait() == cli.EXIT_BAD_INPUT
    assert "ROUNDS was 2 and is 0" in run.read_errors()
    assert "SOURCE_STEPS was 40 and is 2" in run.read_errors()
    assert whole.read_results() == results
    run.start("--fresh", params=other)
    assert run.wait() == 0, run.read_errors()[-2000:]
    assert len(run.read_results()["stages"]) == 1
    assert _make_twin(whole, "whole.old-1").read_results() == results
