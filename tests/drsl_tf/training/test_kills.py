"""Real training processes, killed at random moments and started again.

DRSL_TF_KILLS says how many kills; with `pytest -s` every one is printed as a row of a table.
DRSL_TF_KILLS_RECORD names a JSON file to which the outcome is added under TensorFlow's version.
"""

import os
import random
import shutil
import signal
import time

import pytest

from data_pipelines import cli
from tests.support.kill_record import KillRecord
from tests.support.processes.training_process import CHECKPOINT_EVERY
from tests.support.processes.training_process import TrainingProcess
from tests.support.processes.training_process import assert_equal_runs
from tests.support.processes.training_process import measure_difference

pytestmark = pytest.mark.slow

# What to wait for, in the order in which a run meets it, and the longest wait after it: so many
# further steps, or so many seconds, about as long as the phase takes.
_MOMENTS = (
    ("source stage: training", "steps", 9),
    ("source stage: training", "checkpoint", 0.0),
    ("round 0: scoring", "begin", 0.4),
    ("round 1: statistics", "begin", 0.8),
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


def _kill_at_random_moments(run, count, rng, params=()):
    """Runs to the end in spite of kills; returns the kills."""
    record = KillRecord(CHECKPOINT_EVERY)
    kill = None
    print("\n| kill | found at | (round, steps done) before | resumed at | steps lost |")

    def start_again():
        run.start(params=params)
        if kill is not None:
            resumed = run.wait_until(lambda: run.read_resumption() is not None)
            assert resumed, run.read_errors()[-2000:]
            lost = record.add(*kill, run.read_resumption())
            assert 0 <= lost <= CHECKPOINT_EVERY

    for phase, kind, longest in _plan_moments(count, rng):
        start_again()
        kill = None
        if not _reach(run, phase, kind, longest, rng):
            assert run.wait() == 0, run.read_errors()[-2000:]
            continue
        run.signal(signal.SIGKILL)
        steps = run.read_steps()
        found = "checkpoint write" if run.is_writing_checkpoint() else run.find_phase()
        kill = (found, steps[-1] if steps else (0, 0))
    start_again()
    assert run.wait() == 0, run.read_errors()[-2000:]
    return record


def test_kills_at_random_moments_change_nothing(whole):
    count = int(os.environ.get("DRSL_TF_KILLS", "2"))
    seed = int(os.environ.get("DRSL_TF_KILLS_SEED", "0"))
    run = _make_twin(whole, "killed")
    record = _kill_at_random_moments(run, count, random.Random(seed))
    path = os.environ.get("DRSL_TF_KILLS_RECORD")
    if path:
        same = run.read_results() == whole.read_results()
        record.write(path, seed, measure_difference(run, whole), same)
    assert len(record.kills) >= count / 2
    if count >= 20:
        assert len(record.kills) >= 20 and min(record.count_phases().values()) >= 3
    assert_equal_runs(run, whole)


def test_without_determinism_kills_change_next_to_nothing(tmp_path):
    """Threads that add in another order give other last bits; the promise is then 1e-5."""
    params = ("drsl_tf.RunSettings.deterministic = False", "SOURCE_STEPS = 12", "ROUNDS = 1")
    params += ("STEPS_PER_ROUND = 8",)
    undisturbed = TrainingProcess(str(tmp_path), "whole").start(params=params)
    assert undisturbed.wait() == 0, undisturbed.read_errors()[-2000:]
    run = TrainingProcess(str(tmp_path), "killed").start(params=params)
    assert run.wait_until(lambda: len(run.read_steps()) > 9)
    run.signal(signal.SIGKILL)
    assert run.start(params=params).wait() == 0, run.read_errors()[-2000:]
    difference = measure_difference(run, undisturbed)
    print(f"largest difference {difference:.2e}")
    assert difference <= 1e-5


@pytest.mark.parametrize(
    "number, code",
    [(signal.SIGTERM, cli.EXIT_STOPPED_EARLY), (signal.SIGINT, cli.EXIT_INTERRUPTED)],
)
def test_sigterm_and_ctrl_c_save_the_step_that_they_interrupt(whole, number, code):
    # What a shell starts in the background, and its children, ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run = _make_twin(whole, f"stopped_by_{number.name}").start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert _reach(run, "round 1: training", "steps", 9, random.Random(0))
    assert run.signal(number) == code
    assert "Run the same command again" in run.read_errors()
    assert "Traceback" not in run.read_errors()
    saved = run.read_steps()[-1]
    run.start()
    assert run.wait_until(lambda: run.read_resumption() is not None)
    assert run.read_resumption() == saved
    assert run.wait() == 0
    assert_equal_runs(run, whole)


def test_sigterm_before_the_first_step_ends_in_order_too(whole):
    run = _make_twin(whole, "early").start()
    assert run.wait_until(lambda: os.path.exists(os.path.join(run.run_dir, "config.gin")))
    assert run.signal(signal.SIGTERM) == cli.EXIT_STOPPED_EARLY, run.read_errors()[-2000:]
    assert "Traceback" not in run.read_errors()


def test_another_configuration_is_refused_and_fresh_keeps_the_old_run(whole):
    results = whole.read_results()
    other = ("ROUNDS = 0", "SOURCE_STEPS = 2")
    run = _make_twin(whole, "changed")
    shutil.copytree(whole.run_dir, run.run_dir)
    run.start(params=other)
    assert run.wait() == cli.EXIT_BAD_INPUT
    assert "SOURCE_STEPS was 40 and is 2" in run.read_errors()
    assert run.read_results() == results
    run.start("--fresh", params=other)
    assert run.wait() == 0, run.read_errors()[-2000:]
    assert len(run.read_results()["stages"]) == 1
    assert _make_twin(whole, "changed.old-1").read_results() == results
