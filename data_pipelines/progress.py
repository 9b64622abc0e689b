"""Progress bars with a rate and the estimated time left."""

from __future__ import annotations

import sys

import tqdm

# In a log file every refresh adds a line, so refreshes are rare there.
_REFRESH_SECONDS = {True: 0.2, False: 15.0}


def make_progress_bar(
    total: int, description: str, unit: str, initial: int = 0, *, shown: bool = True
) -> tqdm.tqdm:
    """Creates a progress bar on standard error.

    Args:
        total: number of units.
        description: text before the bar.
        unit: name of one unit, such as "image".
        initial: units that are already done, in a resumed run.
        shown: False counts without output.

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
