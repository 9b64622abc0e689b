"""The training command as a job of one or more processes that a test starts, kills and reads."""

import json
import os
import signal
import sys
import time

import numpy as np
import tensorflow as tf
from PIL import Image

from drsl_tf.runs.run_directory import RunDirectory
from tests.support import streets
from tests.support.processes import local_jobs

# With a large epsilon Adam moves along the gradient, and does not blow up what is only noise. The
# network is smooth for the same reason, see `toys.make_smooth_base`.
_CONFIG = """
from __gin__ import dynamic_registration
import keras
from data_pipelines.batches import adaptation
import drsl_tf
from tests.support import toys

include "demo.gin"

drsl_tf.RunSettings.deterministic = True
drsl_tf.Inference.batch_size = 1
keras.optimizers.Adam.epsilon = 1.0
drsl_tf.DrslModel.sma_weight = 0.0
drsl_tf.Learner.mode_start = @drsl_tf.ModeStart()
drsl_tf.ModeStart.images = 4
drsl_tf.MultimodalHead.hidden_units = ()
drsl_tf.MultimodalHead.usage_decay = 0.9
drsl_tf.MultimodalHead.mode_decay = 0.9
drsl_tf.MultimodalHead.feature_share = 0.5
drsl_tf.SelfTraining.selection = "label_free"
drsl_tf.DrslModel.sibling_weight = 0.1
drsl_tf.DrslModel.sibling_steps = 20
drsl_tf.PseudoLabeler.confidence_floor = 0.0
drsl_tf.Schedule.checkpoint_every = 4
adaptation.AdaptationData.source_batch = 2
adaptation.AdaptationData.target_batch = 2
SOURCE_STEPS = 40
ROUNDS = 1
STEPS_PER_ROUND = 6
SOURCE_RATE = 0.5
ADAPTATION_RATE = 0.2
"""


class WorkerJob:
    """One run directory and the processes that work on it.

    Args:
        folder: where configuration, data, logs and the run directory go.
        name: of the run directory.
        count: processes; one gets no TF_CONFIG.
    """

    def __init__(self, folder, name, count):
        self.run_dir = os.path.join(folder, name)
        self._folder = folder
        self._name = name
        self._count = count
        self.processes = []

    def start(self, *params, flags=()):
        """Starts every process."""
        config = os.path.join(self._folder, "tiny.gin")
        with open(config, "w", encoding="utf-8") as file:
            file.write(_CONFIG)
        scenes = streets.list_demo_bindings(self._folder, source=4, target=5, val=3)
        scenes.append("drsl_tf.build_model.base = @toys.make_smooth_base")
        command = [sys.executable, "-m", "drsl_tf.train", f"--gin_file={config}", *flags]
        command += [f"--run_dir={self.run_dir}"]
        command += [f"--gin_param={param}" for param in (*scenes, *params)]
        self.processes = local_jobs.start_job(command, self._count, self._locate_log)
        return self

    def wait(self, timeout=240):
        """Waits for the end of all; gives the exit codes."""
        end = time.monotonic() + timeout
        try:
            return [p.wait(max(0, end - time.monotonic())) for p in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def wait_until(self, condition, timeout=240):
        """Waits for a condition, or fails where a process ends before it."""
        end = time.monotonic() + timeout
        while not condition():
            assert all(p.poll() is None for p in self.processes), self.read_log(0)[-3000:]
            assert time.monotonic() < end, self.read_log(0)[-3000:]
            time.sleep(0.005)

    def signal(self, index, number=signal.SIGKILL):
        """Sends a signal to one process."""
        self.processes[index].send_signal(number)

    def read_log(self, index):
        """What the newest process of an index wrote."""
        with open(self._locate_log(index), encoding="utf-8") as file:
            return file.read()

    def count_checkpoints(self):
        """The number of the newest checkpoint, 0 where there is none."""
        folder = RunDirectory(self.run_dir).checkpoints
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return max([int(n[5:-6]) for n in names if n.endswith(".index")], default=0)

    def read_results(self):
        """The run's results."""
        with open(RunDirectory(self.run_dir).results, encoding="utf-8") as file:
            return json.load(file)

    def read_variables(self):
        """All arrays of the last checkpoint by key, the clock apart."""
        path = tf.train.latest_checkpoint(RunDirectory(self.run_dir).checkpoints)
        reader = tf.train.load_checkpoint(path)
        keys = [key for key in reader.get_variable_to_shape_map() if "/seconds/" not in key]
        return {key: reader.get_tensor(key) for key in keys if key.endswith("VARIABLE_VALUE")}

    def read_labels(self, folder):
        """All PNGs below a folder of the run, by their paths."""
        root = os.path.join(self.run_dir, folder)
        found = {}
        for place, _, names in os.walk(root):
            for name in names:
                if name.endswith(".png"):
                    path = os.path.join(place, name)
                    with Image.open(path) as image:
                        found[os.path.relpath(path, root)] = np.asarray(image)
        return found

    def _locate_log(self, index):
        return os.path.join(self._folder, f"{self._name}_{index}.txt")
