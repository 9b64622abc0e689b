"""The training command as a process that a test starts, watches, kills and starts again."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

from drsl_tf.runs.run_directory import RunDirectory
from tests.support import streets

CHECKPOINT_EVERY = 4

_CONFIG = f"""
from __gin__ import dynamic_registration
from data_pipelines.batches import adaptation
import drsl_tf
from tests.support import step_log

include "demo.gin"

drsl_tf.RunSettings.deterministic = True
drsl_tf.Monitoring.callbacks = [@step_log.StepLog()]
drsl_tf.Inference.batch_size = 1
drsl_tf.Learner.mode_start = @drsl_tf.ModeStart()
drsl_tf.ModeStart.images = 4
drsl_tf.MultimodalHead.usage_decay = 0.9
drsl_tf.SelfTraining.selection = "label_free"
step_log.StepLog.path = %STEP_LOG
drsl_tf.Schedule.checkpoint_every = {CHECKPOINT_EVERY}
adaptation.AdaptationData.source_batch = 2
adaptation.AdaptationData.target_batch = 2
SOURCE_STEPS = 40
ROUNDS = 2
STEPS_PER_ROUND = 30
"""
_TITLE = re.compile(r"(source stage: training|round \d+: \w+):")


class TrainingProcess:
    """One run directory, and the process that works on it, if any.

    Args:
        folder: where configuration, data, logs and the run directory go.
        name: of the run directory.
    """

    def __init__(self, folder, name):
        self.run_dir = os.path.join(folder, name)
        self._folder = folder
        self._name = name
        self._step_log = os.path.join(folder, f"{name}_steps.txt")
        self._errors = os.path.join(folder, f"{name}_stderr.txt")
        self._process = None

    def start(self, *flags, params=()):
        """Starts the command."""
        config = os.path.join(self._folder, "tiny.gin")
        with open(config, "w", encoding="utf-8") as file:
            file.write(_CONFIG)
        scenes = streets.list_demo_bindings(self._folder, source=6, target=24, val=24)
        # Every run has the same path in its configuration, the link tells them apart.
        log = os.path.join(self._folder, "steps.txt")
        if os.path.lexists(log):
            os.remove(log)
        os.symlink(self._step_log, log)
        params = [*scenes, f"STEP_LOG = '{log}'", *params]
        command = [sys.executable, "-m", "drsl_tf.train", f"--gin_file={config}"]
        command += [f"--run_dir={self.run_dir}", *(f"--gin_param={param}" for param in params)]
        with open(self._errors, "w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [*command, *flags],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"),
            )
        return self

    def wait(self, timeout=240):
        """Waits for the end; gives the exit code."""
        return self._process.wait(timeout)

    def signal(self, number=signal.SIGKILL):
        """Sends a signal and waits for the end; gives the exit code."""
        self._process.send_signal(number)
        return self.wait()

    def is_running(self):
        """Returns whether the process is alive."""
        return self._process.poll() is None

    def wait_until(self, condition, timeout=240):
        """Waits for a condition, asked as often as possible; False where it ends first."""
        end = time.monotonic() + timeout
        while not condition():
            if not self.is_running():
                return False
            assert time.monotonic() < end, self.read_errors()[-2000:]
            time.sleep(0.0005)
        return True

    def read_errors(self):
        """What the newest process wrote to standard error."""
        with open(self._errors, encoding="utf-8") as file:
            return file.read()

    def find_phase(self):
        """The newest phase that the newest process showed progress of, None before the first."""
        titles = _TITLE.findall(self.read_errors())
        return titles[-1] if titles else None

    def read_steps(self):
        """Every (round, steps done) of all processes so far."""
        if not os.path.exists(self._step_log):
            return []
        with open(self._step_log, encoding="utf-8") as file:
            lines = [line.split() for line in file if line.endswith("\n")]
        return [(int(round_index), int(step)) for round_index, step in lines]

    def read_resumption(self):
        """(round, step) that the newest process resumed from; None if it started over."""
        match = re.search(r"Resuming at round (\d+), step (\d+)", self.read_errors())
        return match and (int(match.group(1)), int(match.group(2)))

    def is_writing_checkpoint(self):
        """Whether a checkpoint is half written."""
        partial = os.path.join(RunDirectory(self.run_dir).checkpoints, ".partial")
        return os.path.isdir(partial) and bool(os.listdir(partial))

    def read_results(self):
        """The results without what may differ between two equal runs."""
        with open(RunDirectory(self.run_dir).results, encoding="utf-8") as file:
            results = json.load(file)
        del results["versions"]
        for stage in results["stages"]:
            del stage["seconds"]
        return results

    def read_variables(self, folder="checkpoints"):
        """All arrays of the last checkpoint in a folder by key, the clock apart."""
        path = tf.train.latest_checkpoint(os.path.join(self.run_dir, folder))
        reader = tf.train.load_checkpoint(path)
        keys = [key for key in reader.get_variable_to_shape_map() if "/seconds/" not in key]
        return {key: reader.get_tensor(key) for key in keys if key.endswith("VARIABLE_VALUE")}


def measure_difference(run, other):
    """Returns the largest absolute difference between the variables of two finished runs."""
    variables, others = run.read_variables(), other.read_variables()
    assert variables.keys() == others.keys()
    return max(float(np.abs(array - others[key]).max()) for key, array in variables.items())


def assert_equal_runs(run, other):
    """Compares two finished runs bit for bit."""
    for folder in ("checkpoints", os.path.basename(RunDirectory("").best_checkpoint)):
        variables, others = run.read_variables(folder), other.read_variables(folder)
        assert variables.keys() == others.keys()
        for group in ("model/", "optimizer/", "counters/"):
            assert any(key.startswith(group) for key in variables)
        for key, array in variables.items():
            np.testing.assert_array_equal(array, others[key], err_msg=f"{folder}: {key}")
    assert run.read_results() == other.read_results()
