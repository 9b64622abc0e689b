"""Work in threads ahead of its consumer."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from concurrent import futures
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_MAX_THREADS = 32


def count_threads() -> int:
    """Returns how many files to read and decode at a time: one a core, and at most 32."""
    return min(os.cpu_count() or 1, _MAX_THREADS)


def map_ahead(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: int
) -> Generator[ResultT, None, None]:
    """Calls a function on every item in threads, and yields the results in order.

    The items are taken in the consumer's thread, and few are waiting at a time, where
    `concurrent.futures.Executor.map` takes all of them at once.

    Args:
        function: called with one item.
        items: may be an iterator that computes each.
        threads: calls at a time.

    Yields:
        The results. An exception of a call is raised in its place.
    """
    waiting: collections.deque[futures.Future] = collections.deque()
    pool = futures.ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # After an error, or where the consumer is done, calls that wait are not made.
        pool.shutdown(cancel_futures=True)
