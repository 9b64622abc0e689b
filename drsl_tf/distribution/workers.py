"""Coordination of the processes of one job on several machines.

All communication uses TensorFlow's collectives. With one process there is none.
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
from drsl_tf.distribution.strategy import read_task_index

LOST_WORKER_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
"""Errors of collectives when another process ended or cannot be reached."""


class WorkerLost(SystemExit):
    """Another process of the job ended or cannot be reached; the same command resumes.

    If it is not caught, the process exits with `cli.EXIT_STOPPED_EARLY`.
    """

    def __init__(self):
        super().__init__(cli.EXIT_STOPPED_EARLY)


class Workers:
    """The processes of a job, as seen by one of them.

    All methods except `share` and `raise_if_worker_lost` are collective:
    every process calls the same ones in the same order.

    Args:
        strategy: any; only a `MultiWorkerMirroredStrategy` has several processes.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self._replicas = count_local_replicas(strategy)
        self.count = strategy.num_replicas_in_sync // self._replicas
        self.index = read_task_index() if self.count > 1 else 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files of the job."""
        return self.index == 0

    def share(self, items: Sequence[Any]) -> list[Any]:
        """Returns this process's part of a list.

        Args:
            items: the same list in every process.

        Returns:
            Consecutive items; the parts of all processes in order are the list. Lengths differ
            by at most 1, and a part may be empty.
        """
        bounds = [len(items) * index // self.count for index in (self.index, self.index + 1)]
        return list(items[bounds[0] : bounds[1]])

    def sum(self, array: np.ndarray) -> np.ndarray:
        """Sums an array over all processes.

        Args:
            array: int64, of the same shape in every process.

        Returns:
            The exact sum.
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
        """Calls a function on the chief while the others wait.

        Args:
            function: called on the chief; its result must be JSON serializable.

        Returns:
            The result, in every process.

        Raises:
            UserError: in every process, if the function raised it.
        """
        if self.count == 1:
            return function()
        return self.run_together(lambda: function() if self.is_chief else None)[0]

    def run_together(self, function: Callable[[], Any]) -> list[Any]:
        """Calls a function in every process; an error in one of them is raised in all.

        Args:
            function: not collective; its result must be JSON serializable.

        Returns:
            The results of all processes, by index.

        Raises:
            UserError: in every process, if one of them raised it.
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
            values: name for messages -> JSON serializable value that must be equal.

        Raises:
            UserError: in every process, if values differ; names them.
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
        """Raises `WorkerLost` in place of the errors of collectives in `LOST_WORKER_ERRORS`.

        Raises:
            WorkerLost: another process ended or cannot be reached.
        """
        try:
            yield
        except LOST_WORKER_ERRORS as error:
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
        """Returns the JSON content of every process, by index."""
        data = np.frombuffer(json.dumps(content).encode(), np.uint8)
        lengths = np.zeros(self.count, np.int64)
        lengths[self.index] = len(data)
        lengths = self.sum(lengths)
        table = np.zeros((self.count, lengths.max()), np.int64)
        table[self.index, : len(data)] = data
        table = self.sum(table).astype(np.uint8)
        return [json.loads(row[:n].tobytes()) for row, n in zip(table, lengths)]
