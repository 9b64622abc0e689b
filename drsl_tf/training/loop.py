"""The steps of one stage, on one device or many."""

from __future__ import annotations

import time
from typing import Callable, Dict, Optional

import keras
import tensorflow as tf

from data_pipelines import interleave
from data_pipelines import progress
from drsl_tf.replicated import count_local_replicas
from drsl_tf.training import strategy as strategies

# Reading a number back waits for the step; every step would keep a fast device idle.
_SHOW_EVERY = 10


class TrainingLoop:
    """Drives `model.train_step` on every replica.

    `keras.Model.fit` cannot do this on every supported version: Keras 3 draws one batch too many
    and fails under several workers.

    Args:
        model: a compiled `DrslModel`.
        strategy: where to run.
        callbacks: Keras callbacks. An epoch is a stage. Every tenth batch end, and the last one,
            carries the loss and its terms, means over the steps since the one before; every batch
            end carries "data_wait_seconds". The end of an epoch carries the stage's scores.
        seed: the experiment's seed.
    """

    def __init__(self, model, strategy: tf.distribute.Strategy, callbacks, *, seed: int):
        self._model = model
        self._strategy = strategy
        self._seed = seed
        self._callbacks = keras.callbacks.CallbackList(list(callbacks), model=model)
        self._train = tf.function(
            lambda batch: strategy.run(model.train_step, args=(batch,))
        )

    def run_stage(
        self,
        source: interleave.Stream,
        target: Optional[interleave.Stream],
        *,
        round_index: int,
        steps: int,
        start_step: int,
        after_step: Callable[[int], None],
    ) -> None:
        """Trains from `start_step` to the end of a stage.

        Args:
            source: the labelled stream.
            target: the pseudo-labelled stream; None in the source stage.
            round_index: 0 for the source stage.
            steps: steps of the whole stage.
            start_step: steps done already.
            after_step: called with the number of steps done, after every step.
        """
        # Before anything can return: Keras 3 refuses the end of a stage that never began, and a run
        # stopped while it was scored has no step left.
        self._callbacks.on_train_begin()
        self._callbacks.on_epoch_begin(round_index)
        if start_step >= steps:
            return
        batches = iter(self._distribute(source, target, round_index, steps, start_step))
        for metric in self._model.metrics:
            metric.reset_state()
        title = f"round {round_index}: training" if round_index else "source stage: training"
        with progress.make_progress_bar(steps, title, "step", initial=start_step) as bar:
            for step in range(start_step, steps):
                self._callbacks.on_train_batch_begin(step)
                began = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - began
                self._train(batch)
                logs = {}
                if (step + 1) % _SHOW_EVERY == 0 or step + 1 == steps:
                    logs = {m.name: float(m.result()) for m in self._model.metrics}
                    shown = ", ".join(f"{name} {value:.3f}" for name, value in logs.items())
                    bar.set_postfix_str(shown, refresh=False)
                    for metric in self._model.metrics:
                        metric.reset_state()
                logs["data_wait_seconds"] = waited
                self._callbacks.on_train_batch_end(step, logs)
                bar.update(1)
                after_step(step + 1)

    def end_stage(self, round_index: int, scores: Dict[str, float]) -> None:
        """Tells the callbacks that a stage is trained and scored.

        Args:
            round_index: 0 for the source stage.
            scores: numbers known of the stage, by name.
        """
        self._callbacks.on_epoch_end(round_index, scores)
        self._callbacks.on_train_end()

    def _distribute(self, source, target, round_index, steps, start_step):
        replicas = count_local_replicas(self._strategy)
        first = strategies.get_worker_index(self._strategy) * replicas

        def make_dataset(_):
            return interleave.make_training_batches(
                source,
                target,
                steps=steps,
                start_step=start_step,
                seed=self._seed,
                round_index=round_index,
                num_shards=self._strategy.num_replicas_in_sync,
                shard_index=first,
                shards_here=replicas,
            )

        return self._strategy.distribute_datasets_from_function(make_dataset)
