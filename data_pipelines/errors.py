"""The error that a user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input or configuration: the message names the cause and the mend.

    Binaries print the message as one paragraph and exit with code 2; only `--debug` shows a
    traceback. Anything else that escapes is a defect of the program.
    """
