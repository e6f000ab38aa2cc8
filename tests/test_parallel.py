import threading
from collections.abc import Iterator

import pytest

from asr.parallel import default_jobs, parallel_map


def test_results_come_in_order_from_several_threads() -> None:
    threads = set()

    def square(number: int) -> int:
        threads.add(threading.get_ident())
        return number * number

    assert list(parallel_map(square, range(1000), jobs=4)) == [n * n for n in range(1000)]
    assert threading.get_ident() not in threads
    assert list(parallel_map(square, [], jobs=2)) == []


def test_items_are_taken_as_results_are() -> None:
    """Of a million items, no more are read than the chunks in the works."""
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield number

    results = parallel_map(lambda number: number, numbers(), jobs=2)
    assert next(results) == 0
    assert taken <= 32 * (2 * 2 + 1)
    results.close()


def test_an_error_ends_the_map() -> None:
    def fail(number: int) -> int:
        if number == 500:
            raise ValueError("five hundred")
        return number

    with pytest.raises(ValueError, match="five hundred"):
        list(parallel_map(fail, range(100_000), jobs=2))


def test_a_machine_has_at_least_one_core() -> None:
    assert default_jobs() >= 1
