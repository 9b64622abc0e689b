"""The processes of one job on several machines: who does what, and what all agree on.

Everything goes through TensorFlow's own collectives. With one process nothing here communicates.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from data_pipelines import cli
from data_pipelines.errors import UserError
from drsl_tf.distribution.replicated import count_local_replicas

LOSSES = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
"""What collectives raise when a process they need is gone."""


class WorkerLost(SystemExit):
    """Another process of the job ended or cannot be reached: the same command goes on.

    Where nothing catches it, the process ends with `cli.EXIT_STOPPED_EARLY`.
    """

    def __init__(self):
        super().__init__(cli.EXIT_STOPPED_EARLY)


class Workers:
    """This process among those of its job.

    All methods but `share` are collective: every process calls the same ones in the same order.

    Args:
        strategy: any strategy; only a `MultiWorkerMirroredStrategy` has several processes.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self._replicas = count_local_replicas(strategy)
        self.count = strategy.num_replicas_in_sync // self._replicas
        self.index = 0
        if self.count > 1:
            resolver = strategy.cluster_resolver
            chiefs = resolver.cluster_spec().as_dict().get("chief", [])
            before = len(chiefs) if resolver.task_type == "worker" else 0
            self.index = int(resolver.task_id) + before

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what is written once."""
        return self.index == 0

    def share(self, items: Sequence[Any]) -> list[Any]:
        """Gives this process its part of a list.

        Args:
            items: the same list everywhere.

        Returns:
            Neighbours; the parts of all processes, one after the other, are the list. Lengths
            differ by 1 at most, and a part may be empty.
        """
        bounds = [len(items) * index // self.count for index in (self.index, self.index + 1)]
        return list(items[bounds[0] : bounds[1]])

    def sum(self, array: np.ndarray) -> np.ndarray:
        """Adds arrays up over all processes.

        Args:
            array: int64, of the same shape everywhere.

        Returns:
            The sum, exact.
        """
        array = np.asarray(array, np.int64)
        if self.count == 1:
            return array
        values = self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                array
                if context.replica_id_in_sync_group % self._replicas == 0
                else np.zeros_like(array)
            )
        )
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy()

    def ask_chief(self, function: Callable[[], Any]) -> Any:
        """Lets the chief alone do something while the others wait.

        Args:
            function: called on the chief; returns what JSON can hold.

        Returns:
            Its result, everywhere.

        Raises:
            UserError: everywhere, where it failed so on the chief.
        """
        if self.count == 1:
            return function()
        return self.run_together(lambda: function() if self.is_chief else None)[0]

    def run_together(self, function: Callable[[], Any]) -> list[Any]:
        """Does something everywhere, and fails everywhere where one process fails.

        Args:
            function: not collective itself; returns what JSON can hold.

        Returns:
            What it returned in each process, by index.

        Raises:
            UserError: everywhere, where one process raised it.
        """
        if self.count == 1:
            return [function()]
        try:
            answer = {"result": function()}
        except UserError as error:
            answer = {"error": error.message}
        answers = self._gather(answer)
        errors = {i: each["error"] for i, each in enumerate(answers) if "error" in each}
        if errors:
            where = ", ".join(map(str, errors))
            raise UserError(f"On worker {where} of {self.count}: {next(iter(errors.values()))}")
        return [each["result"] for each in answers]

    def check_equal(self, values: dict[str, Any]) -> None:
        """Checks that all processes were started with the same data and settings.

        Args:
            values: what must be equal, by a name that a person understands; JSON can hold it.

        Raises:
            UserError: everywhere, where they are not; names what differs.
        """
        if self.count == 1:
            return
        digests = {
            name: hashlib.sha256(json.dumps(value).encode()).hexdigest()
            for name, value in values.items()
        }
        everywhere = self._gather(digests)
        differing = [name for name in values if len({each[name] for each in everywhere}) > 1]
        if differing:
            raise UserError(
                f"The workers of this job differ in: {', '.join(differing)}. Start the same "
                "command with the same data on every machine."
            )

    @contextlib.contextmanager
    def raise_if_worker_lost(self) -> Iterator[None]:
        """Replaces the errors of collectives whose other process is gone by `WorkerLost`.

        Raises:
            WorkerLost: another process ended or cannot be reached.
        """
        try:
            yield
        except LOSSES as error:
            if self.count == 1:
                raise
            logging.error(
                "Another worker of this job ended or cannot be reached (its own log says why): "
                "%s Run the same command on every machine again to go on from the last "
                "checkpoint.",
                " ".join(error.message.split())[:300],
            )
            raise WorkerLost() from error

    def _gather(self, content: Any) -> list[Any]:
        """Hands a JSON content of every process to all."""
        data = np.frombuffer(json.dumps(content).encode(), np.uint8)
        lengths = np.zeros(self.count, np.int64)
        lengths[self.index] = len(data)
        lengths = self.sum(lengths)
        table = np.zeros((self.count, lengths.max()), np.int64)
        table[self.index, : len(data)] = data
        table = self.sum(table).astype(np.uint8)
        return [json.loads(row[:n].tobytes()) for row, n in zip(table, lengths)]
