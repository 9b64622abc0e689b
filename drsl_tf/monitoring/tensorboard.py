"""A run in TensorBoard: losses, speed, scores, pseudo-labels, modes, pictures, configuration."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import api as hparams_api

from data_pipelines.io import whole_files
from drsl_tf import compat
from drsl_tf.config.configuration import Configuration
from drsl_tf.monitoring.mode_cells import measure_distances
from drsl_tf.monitoring.mode_pictures import ModePictures
from drsl_tf.monitoring.panels import PanelWriter
from drsl_tf.runs.run_directory import RunDirectory

# Tags of a stage's numbers by their names in `flatten_numbers`.
_STAGE_TAGS = {
    "miou": "target/miou",
    "iou/": "target_iou/",
    "seconds": "speed/stage_seconds",
    "pseudo_label/portion": "pseudo_label/portion",
    "pseudo_label/fraction": "pseudo_label/fraction",
    "pseudo_label/accuracy": "pseudo_label/accuracy",
    "pseudo_label/thresholds/": "pseudo_label_threshold/",
    "pseudo_label/fractions/": "pseudo_label_fraction/",
    "pseudo_label/accuracies/": "pseudo_label_accuracy/",
}
_MODE_USAGE = "pseudo_label/mode_usage/"


def read_hparams(config_path: str) -> dict[str, Any]:
    """Reads the hyper-parameters of a run from its configuration.

    Args:
        config_path: the run's `config.gin`.

    Returns:
        Binding or macro -> number, boolean or text. A binding to a macro is omitted, as the macro
        is listed.
    """
    hparams = {}
    for key, text in Configuration([os.path.abspath(config_path)]).bindings.items():
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = None if text.startswith("%") else text
        if value is not None:
            hparams[key] = value if isinstance(value, (bool, int, float, str)) else text
    return hparams


class TensorBoardWriter(keras.callbacks.Callback):
    """Writes a run's event files.

    Steps count from the start of the run, over all stages. A run that resumes from a checkpoint
    marks this in its event files, and readers drop the events of the lost steps.

    Args:
        log_dir: folder of the event files.
        run_dir: the run's directory; its `config.gin`, if any, is written as text and hparams.
        class_names: names of the classes, in the order of their ids.
        count_steps: round -> steps of that stage.
        count_images: round -> images of a batch, over all replicas.
        list_warnings: returns the sentences about the stage that ended last.
        settings: further hyper-parameters, such as the seed.
        picture_writers: have a stage's `pictures`; run before this callback.
    """

    def __init__(
        self,
        log_dir: str,
        run_dir: str,
        class_names: Sequence[str],
        count_steps: Callable[[int], int],
        count_images: Callable[[int], int],
        list_warnings: Callable[[], Sequence[str]],
        settings: dict[str, Any],
        picture_writers: Sequence[PanelWriter | ModePictures] = (),
    ):
        super().__init__()
        self._log_dir = log_dir
        self._run_dir = run_dir
        self._class_names = list(class_names)
        self._count_steps = count_steps
        self._count_images = count_images
        self._list_warnings = list_warnings
        self._settings = dict(settings)
        self._picture_writers = picture_writers
        self._writer: Any = None
        self._opened: int | None = None
        self._round = 0
        self._last_batch: int | None = None
        self._began: float | None = None
        self._steps, self._waited = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Records which stage begins.

        Args:
            epoch: 0 for the source stage, then the round.
            logs: not used.
        """
        if self._last_batch is not None and epoch <= self._round:
            self._close()  # The stage restarts from a checkpoint.
        self._round = epoch
        self._last_batch = None
        self._began = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Records the time, and opens the event file at the first step.

        Args:
            batch: the step within the stage, from 0.
            logs: not used.
        """
        with whole_files.explain_failures(self._log_dir):
            self._open(self._find_first_step(self._round) + batch + 1)
        self._last_batch = batch
        if self._began is None:
            self._began, self._steps, self._waited = time.perf_counter(), 0, 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes losses, learning rates and speed, if the logs hold losses.

        Args:
            batch: the step within the stage, from 0.
            logs: "data_wait_seconds", and at some steps the means of the loss and its terms.
        """
        logs = dict(logs or {})
        self._steps += 1
        self._waited += logs.pop("data_wait_seconds", 0.0)
        if "loss" not in logs or self._began is None:
            return
        seconds = max(time.perf_counter() - self._began, 1e-9)
        step = self._find_first_step(self._round) + batch + 1
        with whole_files.explain_failures(self._log_dir), self._writer.as_default(step=step):
            for name, value in logs.items():
                if self._round or name.endswith("_source") or name == "loss":
                    tf.summary.scalar(f"loss/{'total' if name == 'loss' else name}", value)
            for name, rate in self._read_rates().items():
                tf.summary.scalar(name, rate)
            images = self._steps * self._count_images(self._round)
            tf.summary.scalar("speed/images_per_second", images / seconds)
            tf.summary.scalar("speed/data_wait_share", min(self._waited / seconds, 1.0))
        self._began = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the scores of a stage.

        Args:
            epoch: 0 for the source stage, then the round.
            logs: the stage's numbers, as `flatten_numbers` names them.
        """
        step = self._find_first_step(epoch + 1)
        numbers = logs or {}
        warnings = self._list_warnings()
        with whole_files.explain_failures(self._log_dir):
            self._open(step + 1)
            with self._writer.as_default(step=step):
                tf.summary.scalar("target/round", epoch)
                tf.summary.scalar("warnings", len(warnings))
                if warnings:
                    tf.summary.text("warnings_text", "\n".join(f"- {text}" for text in warnings))
                self._write_scores(numbers)
                self._write_modes(numbers)
                for picture_writer in self._picture_writers:
                    for name, picture in picture_writer.pictures.items():
                        tf.summary.image(name, picture[np.newaxis])
            self._writer.flush()
        # A step repeated after this belongs to a later stage.
        self._last_batch = None

    def _find_first_step(self, round_index):
        return sum(self._count_steps(earlier) for earlier in range(round_index))

    def _open(self, step):
        """Opens an event file that replaces all events from this step on."""
        if self._writer is not None:
            return
        # TensorBoard reads event files in the order of their names, which begin with the second.
        # Within a second the order depends on counters in other libraries: so no two sessions in
        # one second, and the marker's name sorts before all others of its second.
        while int(time.time()) == self._opened:
            time.sleep(0.01)
        now = time.time()
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        marker = os.path.join(self._log_dir, f"events.out.tfevents.{int(now):010d}")
        tf.io.gfile.makedirs(self._log_dir)
        with tf.io.TFRecordWriter(marker) as file:
            for event in (
                event_pb2.Event(wall_time=now, file_version="brain.Event:2"),
                event_pb2.Event(wall_time=now, step=step, session_log=start),
            ):
                file.write(event.SerializeToString())
        self._writer = tf.summary.create_file_writer(self._log_dir)
        self._opened = int(time.time())
        self._write_configuration()

    def _close(self):
        if self._writer is not None:
            with whole_files.explain_failures(self._log_dir):
                self._writer.close()
            self._writer = None

    def _write_configuration(self):
        path = RunDirectory(self._run_dir).config
        hparams = dict(self._settings)
        with self._writer.as_default(step=0):
            if os.path.isfile(path):
                with open(path, encoding="utf-8") as file:
                    # Four spaces mark a code block in TensorBoard's Markdown.
                    text = "".join(f"    {line}" for line in file)
                tf.summary.text("config.gin", text)
                hparams.update(read_hparams(path))
            metrics = [hparams_api.Metric("target/miou", display_name="target mIoU (%)")]
            hparams_api.hparams_config(
                [hparams_api.HParam(name) for name in sorted(hparams)], metrics
            )
            hparams_api.hparams(hparams, trial_id=os.path.abspath(self._run_dir))

    def _read_rates(self):
        rates = {"learning_rate/model": self.model.optimizer}
        head_optimizer = self.model.gradient_update.head_optimizer
        if head_optimizer is not None:
            rates = {
                "learning_rate/base": self.model.optimizer,
                "learning_rate/heads": head_optimizer,
            }
        return {name: compat.read_learning_rate(rule) for name, rule in rates.items()}

    def _write_scores(self, numbers):
        for name, value in numbers.items():
            for start, tag in _STAGE_TAGS.items():
                if name == start or (start.endswith("/") and name.startswith(start)):
                    tf.summary.scalar(tag + name[len(start) :], value)
                    break

    def _write_modes(self, numbers):
        head = self.model.multimodal_head
        if head is None:
            return
        modes = head.modes.numpy()
        for index, name in enumerate(self._class_names):
            usage = [numbers.get(f"{_MODE_USAGE}{name}/{k}", 0.0) for k in range(modes.shape[1])]
            if sum(usage):
                for k, count in enumerate(usage):
                    tf.summary.scalar(f"mode_usage/{name}/{k}", count / sum(usage))
            distances = measure_distances(modes[index])
            if distances.size:
                tf.summary.scalar(f"mode_distance/{name}/smallest", distances.min())
                tf.summary.scalar(f"mode_distance/{name}/mean", distances.mean())
