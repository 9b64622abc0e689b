"""Training steps of one stage, on one or several devices."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from data_pipelines import progress
from data_pipelines.batches import training_batches
from data_pipelines.error_relay import ErrorRelay
from drsl_tf import common
from drsl_tf import compat
from drsl_tf.distribution.replicated import count_local_replicas
from drsl_tf.distribution.workers import Workers
from drsl_tf.models.model import DrslModel
from drsl_tf.training.number_guard import NonFiniteError
from drsl_tf.training.number_guard import NumberGuard
from drsl_tf.training.preemption import Preemption

# Reading a value waits for the step; doing so every step would leave a fast device idle.
_SHOW_EVERY = 10
_NO_VOTES = [False, False]


@dataclasses.dataclass(frozen=True)
class Stage:
    """The data of a stage's steps.

    Args:
        round_index: 0 for the source stage.
        steps: steps of the whole stage.
        source: the labelled stream; None in source-free adaptation.
        target: the pseudo-labelled stream; None in the source stage.
        retry: how often the stage returned to a checkpoint; each retry draws other batches.
    """

    round_index: int
    steps: int
    source: training_batches.Stream | None
    target: training_batches.Stream | None
    retry: int = 0


class Progress(NamedTuple):
    """Progress of a stage.

    Attributes:
        step: steps done since the start of the stage.
        preempted: whether a process of the job was asked to stop.
        stopped: whether a callback set `model.stop_training`.
    """

    step: int
    preempted: bool
    stopped: bool


class TrainingLoop:
    """Runs `model.train_step` on every replica.

    `keras.Model.fit` is not used because on Keras 3 it draws one batch too many and fails with
    several workers.

    Args:
        model: a compiled `DrslModel`.
        strategy: the distribution strategy.
        callbacks: Keras callbacks. An epoch is a stage. The logs of every tenth batch end, and of
            the last one, hold the means of the loss and its terms since the previous report; those
            of every batch end hold "data_wait_seconds". The logs of an epoch's end hold the means
            over the stage's steps since it was last started or resumed, and its scores.
        preemption: records whether this process was asked to stop.
        seed: the experiment's seed.
    """

    def __init__(
        self,
        model: DrslModel,
        strategy: tf.distribute.Strategy,
        callbacks: Sequence[keras.callbacks.Callback],
        *,
        preemption: Preemption,
        seed: int,
    ):
        self._model = model
        self._strategy = strategy
        self._workers = Workers(strategy)
        self._preemption = preemption
        self._seed = seed
        self._callbacks = keras.callbacks.CallbackList(list(callbacks), model=model)
        self._names: list[str] = []
        # Nothing in a step relies on AutoGraph, a third of the processor time of a short stage.
        self._train = tf.function(self._run_step, autograph=False)
        self._vote = tf.function(self._count_votes)
        self._guard = NumberGuard()
        self._stage: dict[str, int] = {}
        self._streams: dict[str, training_batches.Stream | None] = {}
        self._reports: list[tuple[int, dict[str, float]]] = []

    def begin(self) -> None:
        """Calls the callbacks' `on_train_begin`, once per process."""
        self._model.stop_training = False
        self._callbacks.on_train_begin()

    def end(self) -> None:
        """Calls the callbacks' `on_train_end`."""
        self._callbacks.on_train_end()

    def train(self, stage: Stage, start_step: int, every: int) -> Iterator[Progress]:
        """Trains a stage from `start_step` to its end.

        Args:
            stage: the stage's data and number of steps.
            start_step: steps done already.
            every: interval of checkpoints in steps.

        Yields:
            The stage's progress at every multiple of `every`, at its end and when it stops early;
            all loss terms and gradients up to that step are finite.

        Raises:
            NonFiniteError: a loss term or gradient is not finite; raised up to ten steps late.
            UserError: a file cannot be read.
        """
        self._callbacks.on_epoch_begin(stage.round_index)
        self._reports = []
        if start_step >= stage.steps:
            return  # Trained before the run was interrupted; `end_stage` still follows.
        seed = self._seed
        if stage.retry:
            seed = int(training_batches.derive_seed(seed, "retry", stage.retry)[0])
        self._stage = {"round_index": stage.round_index, "seed": seed}
        self._streams = {common.SOURCE: stage.source, common.TARGET: stage.target}
        relay = ErrorRelay()
        self._guard = NumberGuard()
        batches = relay.pass_errors(iter(self._distribute(stage.steps, start_step, relay)))
        self._reset_means()
        votes = None
        reported = start_step
        title = f"round {stage.round_index}" if stage.round_index else "source stage"
        title += ": training"
        with progress.make_progress_bar(stage.steps, title, "step", initial=start_step) as bar:
            for step in range(start_step, stage.steps):
                self._callbacks.on_train_batch_begin(step)
                began = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - began
                self._guard.add(step, self._train(batch))
                logs = {}
                if (step + 1) % _SHOW_EVERY == 0 or step + 1 == stage.steps:
                    self._check_numbers()
                    logs = self._read_means()
                    self._reports.append((step + 1 - reported, dict(logs)))
                    reported = step + 1
                    shown = ", ".join(f"{name} {value:.3f}" for name, value in logs.items())
                    bar.set_postfix_str(shown, refresh=False)
                logs["data_wait_seconds"] = waited
                self._callbacks.on_train_batch_end(step, logs)
                bar.update(1)
                stops = [self._preemption.requested, bool(self._model.stop_training)]
                if self._workers.count > 1:
                    # Reading the votes of this step would wait for it.
                    earlier, votes = votes, self._vote(tf.constant(stops, tf.float32))
                    stops = _NO_VOTES if earlier is None else [bool(n) for n in earlier.numpy()]
                done = step + 1
                if any(stops) or done % every == 0 or done == stage.steps:
                    self._check_numbers()
                    yield Progress(done, *stops)
                if any(stops):
                    return

    def make_error(self, step: int, names: Sequence[str]) -> NonFiniteError:
        """Creates the error for a non-finite value at a step of this stage.

        Args:
            step: the step, counted from 0.
            names: names of the non-finite values.

        Returns:
            The error, with the images of the step's batch.
        """
        files = [
            pair.image_path
            for name, stream in self._streams.items()
            if stream is not None
            for pair in training_batches.list_batch(stream, name, step=step, **self._stage)
        ]
        return NonFiniteError(self._stage["round_index"], step, names, files)

    def end_stage(self, round_index: int, scores: dict[str, float]) -> bool:
        """Calls the callbacks' `on_epoch_end` after a stage was trained and scored.

        Args:
            round_index: 0 for the source stage.
            scores: the stage's scores by name.

        Returns:
            Whether a callback, in any process of the job, requests to stop.
        """
        steps = sum(count for count, _ in self._reports)
        names = self._reports[-1][1] if self._reports else ()
        means = {n: sum(count * logs[n] for count, logs in self._reports) / steps for n in names}
        self._callbacks.on_epoch_end(round_index, {**means, **scores})
        return bool(self._workers.sum(np.array(self._model.stop_training, np.int64)))

    def _read_means(self) -> dict[str, float]:
        """Returns the means of the loss and its terms since the last call."""
        means = {metric.name: float(metric.result()) for metric in self._model.loss_metrics}
        self._reset_means()
        return means

    def _reset_means(self) -> None:
        for metric in self._model.loss_metrics:
            metric.reset_state()

    def _check_numbers(self) -> None:
        """Raises `NonFiniteError` if a value of a step since the last call is not finite."""
        found = self._guard.find()
        if found is None:
            return
        step, invalid = found
        names = [name for name, bad in zip(self._names, invalid) if bad]
        # The terms are more specific than their sum, and the sum more than the gradient.
        terms = [name for name in names if name not in ("loss", common.GRADIENT_NORM)]
        sums = ["the gradient" if common.GRADIENT_NORM in names else "the loss"]
        raise self.make_error(step, terms or sums)

    def _run_step(self, batch):
        results = self._strategy.run(self._model.train_step, args=(batch,))
        self._names = sorted(results)
        # The results are equal on every replica.
        numbers = [self._strategy.experimental_local_results(results[n])[0] for n in self._names]
        optimizer = self._model.optimizer
        if compat.has_loss_scale(optimizer):
            # A gradient that overflows float16 is skipped and halves the scale, which is expected
            # until the scale is 1 or less.
            is_expected = compat.scale_loss(optimizer, tf.constant(1.0)) > 1.0
            norm = self._names.index(common.GRADIENT_NORM)
            numbers[norm] = tf.where(is_expected, 0.0, numbers[norm])
        return tf.stack(numbers)

    def _count_votes(self, vote):
        def add_up():
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(vote))

        return self._strategy.experimental_local_results(self._strategy.run(add_up))[0]

    def _distribute(self, steps, start_step, relay):
        replicas = count_local_replicas(self._strategy)
        first = self._workers.index * replicas
        shard = training_batches.Shard(
            self._strategy.num_replicas_in_sync, range(first, first + replicas)
        )

        def make_dataset(_):
            return training_batches.make_training_batches(
                *(stream and stream.watch(relay) for stream in self._streams.values()),
                steps=steps,
                start_step=start_step,
                **self._stage,
                shard=shard,
            )

        return self._strategy.distribute_datasets_from_function(make_dataset)
