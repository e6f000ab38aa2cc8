"""Many small calls on threads, a bounded number of them waiting: for reading files by the hundred
thousand, where one future a file would cost more memory than all results."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_CHUNK = 32


def default_jobs() -> int:
    """Threads that suit this process: one for each core it may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(
    function: Callable[[_Item], _Result], items: Iterable[_Item], jobs: int | None = None
) -> Iterator[_Result]:
    """`function` of each item, in order; at most 2 * jobs chunks of items are in the works.

    Args:
        jobs: threads; None: one a core. An error in `function` ends the map and is raised here.
    """
    jobs = jobs or default_jobs()
    remaining = iter(items)
    pending: deque[Future[list[_Result]]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while chunk := list(islice(remaining, _CHUNK)):
                pending.append(pool.submit(_call_all, function, chunk))
                if len(pending) > 2 * jobs:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _call_all(function: Callable[[_Item], _Result], items: list[_Item]) -> list[_Result]:
    return [function(item) for item in items]
