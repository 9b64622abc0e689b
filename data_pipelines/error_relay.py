"""Passes errors of readers through tf.data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Iterator

import tensorflow as tf

from data_pipelines.errors import UserError


class ErrorRelay:
    """Raises the `UserError` of a function inside a dataset where the dataset is iterated over.

    tf.data itself replaces it by an error that contains a call stack and is no `UserError`: a file
    that becomes invalid after its audit would look like an internal error.
    """

    def __init__(self):
        self._errors: list[UserError] = []

    def watch(self, function: Callable) -> Callable:
        """Wraps a function that `tf.numpy_function` calls.

        Args:
            function: any function.

        Returns:
            The function that also stores its errors.
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
        """Iterates over a dataset and raises the stored error where it fails.

        Args:
            elements: iterator over the dataset.

        Yields:
            Its elements.

        Raises:
            UserError: the first stored error, where the dataset fails.
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
