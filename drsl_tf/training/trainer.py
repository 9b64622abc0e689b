"""Trains, scores and records the stages of a run: the source, then rounds of pseudo-labels."""

from __future__ import annotations

import os
import shutil
import time

import keras
import tensorflow as tf
from absl import logging

from data_pipelines.batches import training_batches
from data_pipelines.batches.adaptation import AdaptationData
from data_pipelines.errors import UserError
from drsl_tf.distribution.workers import Workers
from drsl_tf.evaluation.evaluator import Evaluator
from drsl_tf.models.inference import Inference
from drsl_tf.models.model import DrslModel
from drsl_tf.modes.start import ModeStart
from drsl_tf.modes.start import ModeStartCallback
from drsl_tf.monitoring.callbacks import Monitoring
from drsl_tf.monitoring.callbacks import make_callbacks
from drsl_tf.monitoring.monitored_values import check_monitors
from drsl_tf.runs import stored_weights
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.runs.comparison_figure import ComparisonFigure
from drsl_tf.runs.label_report import LabelReport
from drsl_tf.runs.results_file import ResultsFile
from drsl_tf.runs.results_file import flatten_numbers
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.label_free import LabelFreeScorer
from drsl_tf.self_training.label_warnings import list_teacher_warnings
from drsl_tf.self_training.label_warnings import list_warnings
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.self_training.target_statistics import list_statistics
from drsl_tf.training.loop import Progress
from drsl_tf.training.loop import Stage
from drsl_tf.training.loop import TrainingLoop
from drsl_tf.training.number_guard import NonFiniteError
from drsl_tf.training.preemption import Preemption
from drsl_tf.training.settings import RunSettings
from drsl_tf.training.settings import SelfTraining


class Trainer:
    """Runs the stages, starting from the newest checkpoint.

    The round and the step within it are variables of the checkpoint. A round's pseudo-labels are
    complete on disk before its first step, so that a resumed run finds them.

    Args:
        run_dir: the directory of the run.
        model: a compiled `DrslModel` with the optimizer's slot variables created.
        strategy: the distribution strategy.
        data: source and target data, already audited.
        schedule: numbers of steps and rounds.
        settings: name, seed and precision of the run.
        self_training: how the rounds use the target.
        inference: image size and batch size of inference on the target.
        mode_start: sets the modes during the source stage; None leaves them to training.
    """

    def __init__(
        self,
        run_dir: str,
        model: DrslModel,
        strategy: tf.distribute.Strategy,
        *,
        data: AdaptationData,
        schedule: Schedule,
        settings: RunSettings,
        self_training: SelfTraining = SelfTraining(),
        inference: Inference = Inference(),
        mode_start: ModeStart | None = None,
    ):
        self._run = RunDirectory(run_dir)
        # A teacher that forgot the initial run in its first steps would label by the student's
        # first errors.
        model.starts_trained = settings.initial_run is not None and not schedule.source_steps
        self._model = model
        self._strategy = strategy
        self._data = data
        self._schedule = schedule
        self._settings = settings
        self._pseudo_labeler = self_training.pseudo_labeler or PseudoLabeler()
        self._target_statistics = self_training.target_statistics
        self._mode_start = mode_start
        self._inference = inference
        self._evaluator = Evaluator(model, strategy, inference)
        self._scorer = None
        if self_training.selection is not None:
            self._scorer = LabelFreeScorer(model, strategy, inference)
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
        self._results = ResultsFile(
            run_dir,
            experiment=settings.experiment,
            seed=settings.seed,
            class_names=data.label_space.class_names,
            initial_run=settings.initial_run,
            is_chief=self._workers.is_chief,
        )

    def train(self, monitoring: Monitoring = Monitoring()) -> ResultsFile:
        """Runs the remaining stages.

        If a callback sets `model.stop_training`, the run ends after that step or stage. The next
        call continues from there.

        Args:
            monitoring: figure, panels, TensorBoard and further callbacks.

        Returns:
            The run's results.

        Raises:
            UserError: a callback monitors what no stage reports.
        """
        names = self._data.label_space.class_names
        labels = self._schedule.rounds and not self._model.labels_online
        check_monitors(
            monitoring.callbacks,
            [metric.name for metric in self._model.loss_metrics],
            scored_classes=names if self._data.eval_pairs else None,
            labelled_classes=names if labels else None,
        )
        figure = ComparisonFigure(
            self._run.path, self._data.target, self._data.eval_pairs[: monitoring.figure_images]
        )
        loop = TrainingLoop(
            self._model,
            self._strategy,
            [
                *self._make_mode_callbacks(),
                *self._make_watchers(monitoring),
                *monitoring.callbacks,
            ],
            preemption=self._preemption,
            seed=self._settings.seed,
        )
        with self._workers.raise_if_worker_lost(), self._preemption:
            self._start()
            self._clock = time.monotonic()
            loop.begin()
            stopped = False
            while int(self._round) <= self._schedule.rounds and not stopped:
                try:
                    stopped = self._run_stage(loop, figure)
                except NonFiniteError as error:
                    self._go_back(error)
            loop.end()
            if int(self._round) > self._schedule.rounds:
                self._workers.ask_chief(lambda: figure.draw(self._schedule.rounds))
            else:
                logging.warning(
                    "A callback stopped the run early. Run the same command again to continue."
                )
        return self._results

    def _make_mode_callbacks(self) -> list[keras.callbacks.Callback]:
        if self._mode_start is None:
            return []
        steps = self._schedule.source_steps
        source = self._data.make_source_stream() if steps else None
        if self._model.multimodal_head is None or source is None:
            logging.warning(
                "Learner.mode_start has no effect: it needs a multi-modal head and a source stage."
            )
            return []
        self._mode_start.check(self._model.multimodal_head.modes_per_class)
        return [
            ModeStartCallback(
                self._mode_start,
                self._strategy,
                source,
                stage_steps=steps,
                seed=self._settings.seed,
            )
        ]

    def _make_watchers(self, monitoring: Monitoring) -> list[keras.callbacks.Callback]:
        if not self._workers.is_chief:
            return []
        settings = self._settings
        return make_callbacks(
            self._run.path,
            monitoring,
            data=self._data,
            schedule=self._schedule,
            strategy=self._strategy,
            inference_size=self._inference.size,
            list_warnings=lambda: self._results.stages[-1].warnings,
            settings={
                name: getattr(settings, name) for name in ("experiment", "seed", "precision")
            },
        )

    def _start(self):
        path = self._restore()
        if path is None:
            if self._settings.initial_run is not None:
                stored_weights.start_from(
                    self._model,
                    self._settings.initial_run,
                    self._data.label_space.class_names,
                    trains_head=self._schedule.source_steps > 0,
                )
            self._checkpoints.save()
            return
        if int(self._round) > self._schedule.rounds and int(self._step):
            raise UserError(
                f"{self._run.path} is at step {int(self._step)} of round {int(self._round)}, and "
                f"Schedule.rounds is {self._schedule.rounds}. Bind at least {int(self._round)}."
            )
        logging.info(
            "Resuming at round %d, step %d, from %s.", int(self._round), int(self._step), path
        )

    def _restore(self):
        path = self._checkpoints.restore_latest()
        # Pseudo-labels of a later round come from a newer checkpoint that is unreadable.
        if path is not None:
            self._workers.ask_chief(lambda: self._drop_labels(int(self._round) + 1))
        return path

    def _go_back(self, error):
        """Restores the last checkpoint, whose values are finite, for a retry with other batches."""
        retry = int(self._retry) + 1
        files = f"Images of the batch: {', '.join(error.files)}."
        most = self._settings.max_retries
        if retry > most:
            raise UserError(
                f"{error}, after {most} retries with other batches. "
                f"{files} Check these images and their labels; if they are valid, reduce the "
                "learning rate or the weight of that loss. The last checkpoint is valid."
            ) from error
        self._count_seconds()
        seconds = float(self._seconds)
        with self._preemption.held():
            path = self._restore()
            self._retry.assign(retry)
            self._seconds.assign(seconds)
            self._checkpoints.save()
        logging.warning(
            "%s. %s Continuing from %s with other batches: retry %d of %d.",
            error,
            files,
            path,
            retry,
            most,
        )

    def _drop_labels(self, first_round):
        while os.path.isdir(self._run.locate_pseudo_labels(first_round)):
            shutil.rmtree(self._run.locate_pseudo_labels(first_round))
            first_round += 1

    def _run_stage(self, loop: TrainingLoop, figure: ComparisonFigure) -> bool:
        """Trains, scores and records the stage `self._round`; returns whether to stop."""
        round_index = int(self._round)
        self._adapt_statistics(round_index)
        target, report = self._label_target(round_index)
        stage = Stage(
            round_index,
            self._schedule.count_steps(round_index),
            self._data.make_source_stream(),
            target,
            retry=int(self._retry),
        )
        with self._preemption.held():
            for progress in loop.train(stage, int(self._step), self._schedule.checkpoint_every):
                self._save_step(loop, stage, progress)
                if progress.preempted:
                    self._preemption.stop()
                if progress.stopped:
                    return True
        confusion = None
        if self._data.eval_pairs:
            confusion = self._evaluator.evaluate(
                self._data.target,
                self._data.eval_pairs,
                description=f"round {round_index}: scoring",
                on_prediction=figure.collect(round_index),
            )
        label_free = self._score_without_labels()
        self._count_seconds()
        entry = self._results.record_stage(
            round_index,
            confusion,
            report,
            float(self._seconds),
            self._list_warnings(round_index, report),
            steps=stage.steps,
            label_free=label_free,
        )
        if round_index == 0:
            self._checkpoints.keep_copy(self._run.source_checkpoint)
        if self._results.best_round == round_index:
            self._checkpoints.keep_copy(self._run.best_checkpoint)
        self._keep_selected(round_index, target_statistics=False)
        scores = {**flatten_numbers(entry), "warnings": float(len(entry.warnings))}
        stopped = loop.end_stage(round_index, scores)
        with self._preemption.held():
            self._round.assign_add(1)
            self._step.assign(0)
            self._retry.assign(0)
            self._count_seconds()  # What followed the record belongs to no stage.
            self._seconds.assign(0.0)
            self._checkpoints.save()
        return stopped

    def _adapt_statistics(self, round_index: int) -> None:
        """Sets the target's batch statistics, if bound, before the first round."""
        if round_index != 1 or int(self._step) != 0 or self._target_statistics is None:
            return
        self._take_statistics()
        self._model.adopt_weights()
        with self._preemption.held():
            self._checkpoints.save()
        label_free = self._score_without_labels()
        if label_free is not None:
            self._results.record_statistics(label_free)
            self._keep_selected(0, target_statistics=True)

    def _label_target(
        self, round_index: int
    ) -> tuple[training_batches.Stream | None, LabelReport | None]:
        """Returns the target stream of a stage and the report of its pseudo-labels."""
        if round_index == 0:
            return None, None
        if self._model.labels_online:
            return self._data.make_unlabelled_target_stream(), None
        labelled, report = self._pseudo_labeler.generate(
            self._model,
            self._strategy,
            self._data.target,
            self._data.target_pairs,
            round_index=round_index,
            directory=self._run.locate_pseudo_labels(round_index),
            inference=self._inference,
        )
        return self._data.make_target_stream(labelled), report

    def _score_without_labels(self):
        if self._scorer is None:
            return None
        return self._scorer.score(
            self._data.target,
            self._data.target_pairs,
            description=f"round {int(self._round)}: scoring without labels",
        )

    def _keep_selected(self, round_index, *, target_statistics):
        """Keeps the newest checkpoint if its model is the one selected so far."""
        selected = self._results.selected
        if selected is not None and (selected.round, selected.target_statistics) == (
            round_index,
            target_statistics,
        ):
            self._checkpoints.keep_copy(self._run.selected_checkpoint)

    def _list_warnings(self, round_index, report):
        """Logs the stage's warnings and returns them."""
        found = []
        if int(self._retry):
            found.append(
                "A loss or gradient was not finite: training returned to a checkpoint and "
                f"continued with other batches, {int(self._retry)} time(s)."
            )
        if report is not None:
            stages = [s for s in self._results.stages if s.round == round_index - 1]
            found += list_warnings(report, stages[0].pseudo_label if stages else None)
        if self._model.labels_online and round_index:
            found += self._workers.ask_chief(
                lambda: list_teacher_warnings(
                    self._model,
                    self._strategy,
                    self._data.target,
                    self._data.target_pairs,
                    round_index=round_index,
                    size=self._inference.size,
                )
            )
        for warning in found:
            logging.warning("%s", warning)
        return found

    def _save_step(self, loop: TrainingLoop, stage: Stage, progress: Progress) -> None:
        self._step.assign(progress.step)
        invalid = self._checkpoints.list_non_finite()
        if invalid:
            raise loop.make_error(progress.step - 1, [f"the variable {n}" for n in invalid[:1]])
        is_last = progress.step == stage.steps
        if is_last and stage.round_index and self._target_statistics is not None:
            self._take_statistics()
        self._count_seconds()
        self._checkpoints.save()

    def _take_statistics(self):
        """Sets batch normalisation's statistics to the target's, mixed with those of training.

        An interrupted run recomputes the same values: they depend only on the weights and, with a
        prior, on the statistics that training computed last.
        """
        trained = int(self._step) > 0 and not self._model.freeze_statistics
        if self._target_statistics.uses_prior and not trained:
            # Those in the model may be mixed already, by an interrupted run or the last round.
            stored_weights.restore_variables(
                self._model,
                stored_weights.find_checkpoint(self._run.path, "source"),
                list_statistics(self._model),
            )
        self._target_statistics.update(
            self._model,
            self._strategy,
            self._data.target,
            self._data.target_pairs,
            self._inference,
            title=f"round {int(self._round)}: statistics",
        )

    def _count_seconds(self):
        now = time.monotonic()
        self._seconds.assign_add(now - self._clock)
        self._clock = now
