"""The error caused by user input."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input or configuration: the message names the cause and the fix.

    Commands print the message as one paragraph and exit with code 2; only `--debug` shows a
    traceback. Any other exception that reaches the user is an internal error.
    """
