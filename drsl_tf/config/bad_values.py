"""Reports errors of configured code as errors of the configuration."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from collections.abc import Iterator

from data_pipelines.errors import UserError


@contextlib.contextmanager
def explain_bad_values(entry: Callable) -> Iterator[None]:
    """Converts the error of a part with an invalid value to a `UserError` that names the part.

    Args:
        entry: entry point such as `drsl_tf.adapt`; its own errors are not converted.

    Raises:
        UserError: names the part. Errors raised outside the parts are not converted.
    """
    try:
        yield
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        # gin appends what it called, the innermost first.
        name, *_ = re.findall(r"\n  In call to configurable '(\w+)'", str(error)) or ["a part"]
        if name == entry.__name__:
            raise  # An error of the run itself is a bug.
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"The configuration gives {name} a value that it cannot take: {reason}. Fix its "
            "binding; --debug shows the traceback."
        ) from error
