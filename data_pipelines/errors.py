"""The error that a user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input or configuration: the message names the cause and the mend.

    Binaries print the message as one paragraph and exit with code 2; only `--debug` shows a
    traceback. Anything else that escapes is a defect of the program.

    Attributes:
        message: the text alone. `str` of an error that came through gin ends with gin's own lines.
    """

    def __init__(self, message: object = ""):
        super().__init__(message)
        self.message = str(message)
