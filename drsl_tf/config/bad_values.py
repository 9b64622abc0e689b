"""Reports errors of configured code as errors of the configuration."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from types import CodeType
from types import FrameType

from data_pipelines.errors import UserError


@contextlib.contextmanager
def explain_bad_values(entry: Callable, parts: Iterable[Callable]) -> Iterator[None]:
    """Converts the error of a part with an invalid value to a `UserError` that names the part.

    Args:
        entry: entry point such as `drsl_tf.adapt`; its own errors are not converted.
        parts: callables that the configuration refers to, from `Configuration.parts`.

    Raises:
        UserError: names the part. Errors raised outside the parts are not converted.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        known: dict[CodeType | None, list[Callable]] = {}
        for part in (entry, *parts):
            known.setdefault(_find_code(part), []).append(part)
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        passed = [_choose(known[f.f_code], f) for f in frames if f.f_code in known]
        # An error of the run itself, rather than of a part, is a bug.
        if passed and passed[-1] is entry:
            raise
        # If no part was entered, gin could not call it; its error names it.
        name = passed[-1].__name__ if passed else "a part"
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"The configuration gives {name} a value that it cannot take: {reason}. Fix its "
            "binding; --debug shows the traceback."
        ) from error


def _choose(parts: list[Callable], frame: FrameType) -> Callable:
    """Returns the part that a frame runs: classes may share an inherited constructor."""
    built = frame.f_locals.get("self")
    return next((p for p in parts if inspect.isclass(p) and isinstance(built, p)), parts[0])


def _find_code(part: Callable) -> CodeType | None:
    """Returns the code object that runs when a part is called, None for built-in ones."""
    function = part.__init__ if inspect.isclass(part) else part
    return getattr(inspect.unwrap(function), "__code__", None)
