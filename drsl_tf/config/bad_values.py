"""Errors of configured code, told as errors of the configuration."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from collections.abc import Iterator

from data_pipelines.errors import UserError

_CALL = re.compile(r"In call to configurable '([^']+)'")


@contextlib.contextmanager
def explain_bad_values(entry: Callable) -> Iterator[None]:
    """Makes an error that a user can mend of a value that a configurable cannot take.

    Args:
        entry: what the configuration is for, such as `drsl_tf.adapt`; its own errors are defects.

    Raises:
        UserError: names the configurable. Errors that did not pass through one stay as they are.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        # gin adds a line for each call that the error came through, the innermost first.
        calls = _CALL.findall(str(error))
        # What comes from the training itself, rather than from a part, is a defect of ours.
        if isinstance(error, UserError) or not calls or calls[0] == entry.__name__:
            raise
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"The configuration gives {calls[0]} a value that it cannot take: {reason}. Mend its "
            "binding; --debug shows the traceback."
        ) from error
