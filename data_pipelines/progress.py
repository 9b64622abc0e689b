"""Progress of long work, with a rate and an estimate of the time left."""

from __future__ import annotations

import sys

import tqdm

# In a log file every refresh is a line of its own, so there they come rarely.
_REFRESH_SECONDS = {True: 0.2, False: 15.0}


def make_progress_bar(
    total: int, description: str, unit: str, initial: int = 0, *, shown: bool = True
) -> tqdm.tqdm:
    """Makes a progress bar on standard error.

    Args:
        total: number of units of the whole work.
        description: what is going on.
        unit: one unit's name, such as "image".
        initial: units that are done already, in a resumed run.
        shown: False makes a bar that counts in silence.

    Returns:
        The bar: `update(n)` counts, `set_postfix_str(text)` shows more, `close()` ends it; it is
        a context manager too.
    """
    return tqdm.tqdm(
        total=total,
        desc=description,
        unit=f" {unit}",
        initial=initial,
        disable=not shown,
        mininterval=_REFRESH_SECONDS[sys.stderr.isatty()],
        dynamic_ncols=True,
        file=sys.stderr,
    )
