"""Work ahead of being asked for: in order, bounded by number and by memory."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from jndcodec.ahead import UNKNOWN, windows, work_ahead


class AtOnce(Executor):
    """Has done everything before it is asked."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


def most_held(threads: Executor, sizes: list[int], most: int, most_bytes: int) -> tuple[list[int], int, int]:
    """(results, the most items and the most bytes that were begun and not yet given out)"""
    begun: list[int] = []
    given: list[int] = []
    count = size = 0

    def items():
        nonlocal count, size
        for one in sizes:
            begun.append(one)
            count, size = max(count, len(begun) - len(given)), max(size, sum(begun) - sum(given))
            yield one

    for item, result in work_ahead(threads, lambda one: one * 2, items(), most, most_bytes, lambda one: one // 2):
        assert result == 2 * item
        given.append(item)
    return given, count, size


SIZES = [[1] * 50, [3, 1, 2] * 10, [100] * 5, [1] * 10 + [100] * 9 + [1] * 10, [7], []]


@pytest.mark.parametrize("sizes", SIZES)
def test_order_and_bounds(sizes: list[int]) -> None:
    with ThreadPoolExecutor(4) as threads:
        given, count, size = most_held(threads, sizes, 8, 20)
    largest = max(sizes, default=0)
    assert given == sizes
    assert count <= 8 + 1  # those ahead, and the one that is given out
    assert size <= 20 + (UNKNOWN + 1) * largest


@pytest.mark.parametrize("sizes", SIZES)
def test_where_sizes_are_known_only_one_exceeds_the_memory(sizes: list[int]) -> None:
    given, count, size = most_held(AtOnce(), sizes, 8, 20)
    assert given == sizes and count <= 8 + 1 and size <= 20 + 2 * max(sizes, default=0)


def test_small_ones_are_worked_on_as_far_ahead_as_allowed() -> None:
    assert most_held(AtOnce(), [1] * 50, 8, 1000)[1] == 8 + 1
    assert most_held(AtOnce(), [1] * 50, 8, 3)[1] == 3 + 1


def test_windows_end_by_number_or_by_memory() -> None:
    items = [(i, size) for i, size in enumerate([1, 1, 1, 1, 9, 1, 30, 1])]
    found = [[size for _, size in window] for window in windows(items, 4, 10, lambda size: size)]
    assert found == [[1, 1, 1, 1], [9, 1], [30], [1]]
