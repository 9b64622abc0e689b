"""The steps of one stage, on one device or many."""

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
from data_pipelines.batches import interleave
from data_pipelines.error_relay import ErrorRelay
from drsl_tf import common
from drsl_tf import compat
from drsl_tf.distribution.replicated import count_local_replicas
from drsl_tf.distribution.workers import Workers
from drsl_tf.models.model import DrslModel
from drsl_tf.training.number_guard import NonFiniteError
from drsl_tf.training.number_guard import NumberGuard
from drsl_tf.training.preemption import Preemption

# Reading a number back waits for the step; every step would keep a fast device idle.
_SHOW_EVERY = 10
_NORM = "gradient_norm"
_NO_VOTES = [False, False]


@dataclasses.dataclass(frozen=True)
class Stage:
    """What the steps of a stage are drawn from.

    Args:
        round_index: 0 for the source stage.
        steps: steps of the whole stage.
        source: the labelled stream.
        target: the pseudo-labelled stream; None in the source stage.
        retry: how often the stage went back to a checkpoint; every time draws other batches.
    """

    round_index: int
    steps: int
    source: interleave.Stream
    target: interleave.Stream | None
    retry: int = 0


class Progress(NamedTuple):
    """Where a stage is.

    Attributes:
        step: steps done since the start of the stage.
        preempted: whether a process of the job was asked to end.
        stopped: whether a callback set `model.stop_training`.
    """

    step: int
    preempted: bool
    stopped: bool


class TrainingLoop:
    """Drives `model.train_step` on every replica.

    `keras.Model.fit` cannot do this on every supported version: Keras 3 draws one batch too many
    and fails under several workers.

    Args:
        model: a compiled `DrslModel`.
        strategy: where to run.
        callbacks: Keras callbacks. An epoch is a stage. Every tenth batch end, and the last one,
            carries the loss and its terms, means over the steps since the one before; every batch
            end carries "data_wait_seconds". The end of an epoch carries the stage's scores, and
            its "warnings", a list of sentences.
        preemption: says whether this process was asked to end.
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
        self._train = tf.function(self._run_step)
        self._vote = tf.function(self._count_votes)
        self._guard = NumberGuard()
        self._stage: dict[str, int] = {}
        self._streams: dict[str, interleave.Stream | None] = {}

    def begin(self) -> None:
        """Tells the callbacks that the run begins, once a process."""
        self._model.stop_training = False
        self._callbacks.on_train_begin()

    def end(self) -> None:
        """Tells the callbacks that the run ends."""
        self._callbacks.on_train_end()

    def train(self, stage: Stage, start_step: int, every: int) -> Iterator[Progress]:
        """Trains a stage, from `start_step` to its end.

        Args:
            stage: what to train on.
            start_step: steps done already.
            every: steps from one checkpoint to the next.

        Yields:
            Where the stage is, at every multiple of `every`, at its end and where it stops before;
            all loss terms and gradients up to there are finite.

        Raises:
            NonFiniteError: a loss term or gradient is not finite; up to ten steps late.
            UserError: a file cannot be read.
        """
        self._callbacks.on_epoch_begin(stage.round_index)
        if start_step >= stage.steps:
            return  # Trained before the run was broken off; `end_stage` follows all the same.
        retry = stage.retry
        seed = int(interleave.derive_seed(self._seed, "retry", retry)[0]) if retry else self._seed
        self._stage = {"round_index": stage.round_index, "seed": seed}
        self._streams = {common.SOURCE: stage.source, common.TARGET: stage.target}
        relay = ErrorRelay()
        self._guard = NumberGuard()
        batches = relay.pass_errors(iter(self._distribute(stage.steps, start_step, relay)))
        self._reset_means()
        votes = None
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
        """Creates the error that reports a step of this stage.

        Args:
            step: the step, from 0.
            names: what is not finite.

        Returns:
            The error, with the images of the step's batch.
        """
        files = [
            pair.image_path
            for name, stream in self._streams.items()
            if stream is not None
            for pair in interleave.list_batch(stream, name, step=step, **self._stage)
        ]
        return NonFiniteError(self._stage["round_index"], step, names, files)

    def end_stage(
        self, round_index: int, scores: dict[str, float], warnings: Sequence[str] = ()
    ) -> bool:
        """Tells the callbacks that a stage is trained and scored.

        Args:
            round_index: 0 for the source stage.
            scores: numbers known of the stage, by name.
            warnings: sentences on what a person should look at.

        Returns:
            Whether a callback, in any process of the job, wants no further stage.
        """
        self._callbacks.on_epoch_end(round_index, {**scores, "warnings": list(warnings)})
        return bool(self._workers.sum(np.array(self._model.stop_training, np.int64)))

    def _read_means(self) -> dict[str, float]:
        """Reads the means of the loss and its terms since the last call."""
        means = {metric.name: float(metric.result()) for metric in self._model.metrics}
        self._reset_means()
        return means

    def _reset_means(self) -> None:
        for metric in self._model.metrics:
            metric.reset_state()

    def _check_numbers(self) -> None:
        """Raises `NonFiniteError` where a number of a step since the last call is not finite."""
        found = self._guard.find()
        if found is None:
            return
        step, invalid = found
        names = [name for name, bad in zip(self._names, invalid) if bad]
        # The terms say more than their sum, and both more than their gradient.
        terms = [name for name in names if name not in ("loss", _NORM)]
        raise self.make_error(step, terms or ["the gradient" if _NORM in names else "the loss"])

    def _run_step(self, batch):
        results = self._strategy.run(self._model.train_step, args=(batch,))
        self._names = sorted(results)
        # They are equal on every replica.
        numbers = [self._strategy.experimental_local_results(results[n])[0] for n in self._names]
        optimizer = self._model.optimizer
        if compat.has_loss_scale(optimizer):
            # A gradient that overflows float16 is passed over and halves the scale: that is how
            # the scale is found. At a scale of 1 or less it is no longer the scale that spoils it.
            is_expected = compat.scale_loss(optimizer, tf.constant(1.0)) > 1.0
            norm = self._names.index(_NORM)
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

        def make_dataset(_):
            return interleave.make_training_batches(
                *(_watch(stream, relay) for stream in self._streams.values()),
                steps=steps,
                start_step=start_step,
                **self._stage,
                num_shards=self._strategy.num_replicas_in_sync,
                shard_index=first,
                shards_here=replicas,
            )

        return self._strategy.distribute_datasets_from_function(make_dataset)


def _watch(stream, relay):
    """Has a relay note the errors of a stream's readers."""
    if stream is None:
        return None
    read_label = None if stream.read_label is None else relay.watch(stream.read_label)
    return dataclasses.replace(
        stream, read_image=relay.watch(stream.read_image), read_label=read_label
    )
