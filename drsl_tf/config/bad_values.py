"""Errors of configured code as errors of the configuration."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from types import CodeType

from data_pipelines.errors import UserError


@contextlib.contextmanager
def explain_bad_values(entry: Callable, parts: Iterable[Callable]) -> Iterator[None]:
    """Turns the error of a part that cannot take a value into one that names the part.

    Args:
        entry: what the configuration is for, such as `drsl_tf.adapt`; its own errors are defects.
        parts: what the configuration reaches from there, as `Configuration.list_parts` lists it.

    Raises:
        UserError: names the part. Errors that did not pass through one stay as they are.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        known = {_find_code(part): part for part in (entry, *parts)}
        frames = traceback.walk_tb(error.__traceback__)
        passed = [known[frame.f_code] for frame, _ in frames if frame.f_code in known]
        # What comes from the run itself, rather than from a part, is a defect of ours.
        if passed and passed[-1] is entry:
            raise
        # Where no part was entered, gin could not even call it: the error names it.
        name = passed[-1].__name__ if passed else "a part"
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"The configuration gives {name} a value that it cannot take: {reason}. Fix its "
            "binding; --debug shows the traceback."
        ) from error


def _find_code(part: Callable) -> CodeType | None:
    """Finds the code that runs when a part is called; built-in ones have none."""
    function = part.__init__ if inspect.isclass(part) else part
    return getattr(inspect.unwrap(function), "__code__", None)
