"""The error caused by user input."""

from __future__ import annotations


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
