"""Errors of readers, kept on their way through tf.data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Iterator

import tensorflow as tf

from data_pipelines.errors import UserError


class ErrorRelay:
    """Gives whoever iterates over a dataset the `UserError` that a function inside it raised.

    tf.data makes an error of its own of it, which holds a call stack and is no `UserError`: so a
    file that goes bad after its audit would look like a defect of the program.
    """

    def __init__(self):
        self._errors: list[UserError] = []

    def watch(self, function: Callable) -> Callable:
        """Wraps a function that `tf.numpy_function` calls.

        Args:
            function: any.

        Returns:
            The same, its errors noted.
        """

        @functools.wraps(function)
        def watched(*args):
            try:
                return function(*args)
            except UserError as error:
                self._errors.append(error)
                raise

        return watched

    def pass_errors(self, elements: Iterator) -> Iterator:
        """Iterates as another iterator does, but for its errors.

        Args:
            elements: over the dataset.

        Yields:
            Its elements.

        Raises:
            UserError: the first one that was noted, where the dataset fails.
        """
        while True:
            try:
                element = next(elements)
            except StopIteration:
                return
            except tf.errors.OpError as error:
                if not self._errors:
                    raise
                raise self._errors[0] from error
            yield element
