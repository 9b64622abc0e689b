"""The stages of a run: source, then rounds of pseudo-labels, each scored, resumed and recorded."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

import tensorflow as tf
from absl import logging

from data_pipelines.batches.adaptation import AdaptationData
from data_pipelines.errors import UserError
from drsl_tf.distribution.workers import Workers
from drsl_tf.evaluation.evaluator import Evaluator
from drsl_tf.runs import stored_weights
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.runs.comparison_figure import ComparisonFigure
from drsl_tf.runs.results import ResultsFile
from drsl_tf.runs.results import flatten_numbers
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.label_warnings import list_warnings
from drsl_tf.self_training.rounds import PseudoLabeler
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.self_training.target_statistics import TargetStatistics
from drsl_tf.training.loop import TrainingLoop
from drsl_tf.training.number_guard import NonFiniteError
from drsl_tf.training.preemption import Preemption


class Trainer:
    """Goes through the stages, from wherever the newest checkpoint stands.

    The round and the step within it are variables of the checkpoint. A round's pseudo-labels are
    complete on disk before its first step, so a run resumed within a round finds them.

    Args:
        run_dir: where everything of this run is written.
        data: audited data.
        schedule: steps and rounds.
        model: a compiled `DrslModel`, slots of its optimizer created.
        strategy: where to run.
        pseudo_labeler: selects the pseudo-labels.
        target_statistics: takes the target's batch statistics around every round, or None.
        inference_size: (height, width) of whole target images, or None.
        inference_batch: images at once in inference.
        results: the run's record.
        figure: the run's figure.
        loop: runs the steps of a stage.
        initial_run: directory of the run whose weights this one starts from, or None.
        max_retries: how often a stage goes back to a checkpoint after numbers that are not finite.
    """

    def __init__(
        self,
        *,
        run_dir: str,
        data: AdaptationData,
        schedule: Schedule,
        model,
        strategy: tf.distribute.Strategy,
        pseudo_labeler: PseudoLabeler,
        target_statistics: TargetStatistics | None,
        inference_size: tuple[int, int] | None,
        inference_batch: int,
        results: ResultsFile,
        figure: ComparisonFigure,
        loop: TrainingLoop,
        initial_run: str | None,
        max_retries: int,
    ):
        self._run = RunDirectory(run_dir)
        self._data = data
        self._schedule = schedule
        self._model = model
        self._strategy = strategy
        self._pseudo_labeler = pseudo_labeler
        self._target_statistics = target_statistics
        self._inference: dict[str, Any] = {"size": inference_size, "batch_size": inference_batch}
        self._results = results
        self._figure = figure
        self._loop = loop
        self._initial_run = initial_run
        self._max_retries = max_retries
        self._evaluator = Evaluator(model, strategy, **self._inference)
        self._workers = Workers(strategy)
        self._round = tf.Variable(0, dtype=tf.int64, trainable=False, name="round")
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._retry = tf.Variable(0, dtype=tf.int64, trainable=False, name="retry")
        self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="seconds")
        self._clock = time.monotonic()
        self._checkpoints = CheckpointStore(
            run_dir,
            model,
            model.optimizer,
            {
                "round": self._round,
                "step": self._step,
                "retry": self._retry,
                "seconds": self._seconds,
            },
            strategy=strategy,
        )
        self._preemption = Preemption()

    def train(self) -> ResultsFile:
        """Runs every stage that is not done yet.

        Returns:
            The run's record.
        """
        with self._workers.noticing_loss(), self._preemption:
            self._start()
            self._clock = time.monotonic()
            while int(self._round) <= self._schedule.rounds:
                try:
                    self._run_stage(int(self._round))
                except NonFiniteError as error:
                    self._go_back(error)
                    continue
                with self._preemption.held():
                    self._round.assign_add(1)
                    self._step.assign(0)
                    self._retry.assign(0)
                    self._seconds.assign(0.0)
                    self._checkpoints.save()
            self._workers.ask_chief(lambda: self._figure.draw(self._schedule.rounds))
        return self._results

    def _start(self):
        path = self._restore()
        if path is None:
            if self._initial_run is not None:
                stored_weights.start_from(self._model, self._initial_run)
            self._checkpoints.save()
            return
        logging.info(
            "Resuming at round %d, step %d, from %s.", int(self._round), int(self._step), path
        )

    def _restore(self):
        path = self._checkpoints.restore_latest()
        # Pseudo-labels of a later round come from a checkpoint that could not be read again.
        if path is not None:
            self._workers.ask_chief(lambda: self._drop_labels(int(self._round) + 1))
        return path

    def _go_back(self, error):
        """Returns to the last checkpoint, whose numbers are finite, to go on with other data."""
        retry = int(self._retry) + 1
        files = f"The batch held {', '.join(error.files)}."
        if retry > self._max_retries:
            raise UserError(
                f"{error}, and so it was {self._max_retries} times before with other batches. "
                f"{files} Look at these images and their labels, and if they are good, lower the "
                "learning rate or the weight of that loss. The last checkpoint is sound."
            ) from error
        self._count_seconds()
        seconds = float(self._seconds)
        with self._preemption.held():
            path = self._restore()
            self._retry.assign(retry)
            self._seconds.assign(seconds)
            self._checkpoints.save()
        logging.warning(
            "%s. %s Going back to %s, and on with other batches: retry %d of %d.",
            error,
            files,
            path,
            retry,
            self._max_retries,
        )

    def _drop_labels(self, first_round):
        while os.path.isdir(self._run.locate_pseudo_labels(first_round)):
            shutil.rmtree(self._run.locate_pseudo_labels(first_round))
            first_round += 1

    def _run_stage(self, round_index):
        target, report = None, None
        if round_index == 1 and int(self._step) == 0 and self._target_statistics is not None:
            self._take_statistics()
            self._model.adopt_weights()
            with self._preemption.held():
                self._checkpoints.save()
        if round_index and self._model.labels_online:
            target = self._data.make_unlabelled_target_stream()
        elif round_index:
            labelled, report = self._pseudo_labeler.generate(
                self._model,
                self._strategy,
                self._data.target,
                self._data.target_pairs,
                round_index=round_index,
                directory=self._run.locate_pseudo_labels(round_index),
                **self._inference,
            )
            target = self._data.make_target_stream(labelled)
        steps = self._schedule.count_steps(
            round_index, len(self._data.target_pairs), self._data.target_batch
        )
        with self._preemption.held():
            self._loop.run_stage(
                self._data.make_source_stream(),
                target,
                round_index=round_index,
                steps=steps,
                start_step=int(self._step),
                wants_stop=lambda: self._preemption.requested,
                after_step=lambda done, stop: self._after_step(done, steps, stop),
                retry=int(self._retry),
            )
        confusion = None
        if self._data.eval_pairs:
            confusion = self._evaluator.evaluate(
                self._data.target,
                self._data.eval_pairs,
                description=f"round {round_index}: scoring",
                on_prediction=self._figure.collect(round_index),
            )
        self._count_seconds()
        stage = self._results.record_stage(
            round_index,
            confusion,
            report,
            float(self._seconds),
            self._list_warnings(round_index, report),
            steps=steps,
        )
        if round_index == 0:
            self._checkpoints.keep_copy(self._run.source_checkpoint)
        if self._results.best_round == round_index:
            self._checkpoints.keep_copy(self._run.best_checkpoint)
        self._loop.end_stage(round_index, flatten_numbers(stage), stage["warnings"])

    def _list_warnings(self, round_index, report):
        """Warns in the log, and gives the warnings for the record."""
        found = []
        if int(self._retry):
            found.append(
                f"A loss or gradient was not finite: training went back to a checkpoint, and on "
                f"with other batches, {int(self._retry)} time(s)."
            )
        if report is not None:
            stages = [s for s in self._results.stages if s["round"] == round_index - 1]
            found += list_warnings(report, stages[0]["pseudo_label"] if stages else None)
        for warning in found:
            logging.warning("%s", warning)
        return found

    def _after_step(self, done, steps, stop):
        self._step.assign(done)
        if stop or done % self._schedule.checkpoint_every == 0 or done == steps:
            self._loop.check_numbers()
            spoilt = self._checkpoints.list_non_finite()
            if spoilt:
                raise self._loop.make_error(done - 1, [f"the variable {n}" for n in spoilt[:1]])
            if done == steps and int(self._round) and self._target_statistics is not None:
                self._take_statistics()
            self._count_seconds()
            self._checkpoints.save()
        if stop:
            self._preemption.stop()

    def _take_statistics(self):
        """Gives batch normalisation the target's statistics.

        They depend on the weights alone, so a run broken off here does it again, and alike.
        """
        self._target_statistics.update(
            self._model,
            self._strategy,
            self._data.target,
            self._data.target_pairs,
            **self._inference,
            title=f"round {int(self._round)}: statistics",
        )

    def _count_seconds(self):
        now = time.monotonic()
        self._seconds.assign_add(now - self._clock)
        self._clock = now
