"""The error caused by user input."""

from __future__ import annotations

import numbers
from typing import Any


class UserError(ValueError):
    """Bad input or configuration: the message names the cause and the fix.

    Commands print the message as one paragraph and exit with code 2; only `--debug` shows a
    traceback. Any other exception that reaches the user is an internal error.

    Attributes:
        message: the text alone. `str` of an error that came through gin ends with gin's own lines.
    """

    ag_pass_through = True
    """AutoGraph raises it unchanged out of a `tf.function`."""

    def __init__(self, message: object = ""):
        super().__init__(message)
        self.message = str(message)


def check_integer(name: str, value: Any, *, least: int) -> None:
    """Checks a setting.

    Args:
        name: the binding, such as "Inference.batch_size".
        value: what it is bound to.
        least: the smallest valid value.

    Raises:
        UserError: the value is no integer, or below `least`.
    """
    if not isinstance(value, numbers.Integral) or value < least:
        raise UserError(f"{name} is {value!r}; it must be an integer of at least {least}.")
