"""Work on items before they are asked for, bounded by their number and by the memory that its results take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

UNKNOWN = 4  # items whose size is not known yet, at a time: so many may turn out larger than any before


def work_ahead(
    threads: Executor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    most: int,
    most_bytes: int,
    bytes_of: Callable[[Result], int],
) -> Iterator[tuple[Item, Result]]:
    """(item, work(item)) in order. Up to `most` further items are worked on meanwhile, or as many as keep within
    `most_bytes`, but at least one; what is not done yet is taken to be as large as the largest so far."""
    source, pending = iter(items), deque[tuple[Item, Future[Result]]]()
    sizes: dict[Future[Result], int] = {}
    largest = most_bytes  # before anything is known: one at a time

    def room() -> bool:
        for _, future in pending:
            if future.done() and future not in sizes and not future.exception():
                sizes[future] = bytes_of(future.result())
        unknown = len(pending) - len(sizes)
        held = sum(sizes.values()) + unknown * largest
        return not pending or (len(pending) < most and unknown < UNKNOWN and held + largest <= most_bytes)

    def fill() -> None:
        while room():
            for item in source:
                pending.append((item, threads.submit(work, item)))
                break
            else:
                return

    fill()
    seen = 0
    while pending:
        item, future = pending.popleft()
        result = future.result()
        size = sizes.pop(future, None)
        largest = seen = max(seen, bytes_of(result) if size is None else size)
        fill()
        yield item, result


def windows(
    items: Iterable[tuple[Item, Result]], most: int, most_bytes: int, bytes_of: Callable[[Result], int]
) -> Iterator[list[tuple[Item, Result]]]:
    """Lists of up to `most` of them, which end with the one that reaches `most_bytes`."""
    window: list[tuple[Item, Result]] = []
    size = 0
    for item, result in items:
        window.append((item, result))
        size += bytes_of(result)
        if len(window) == most or size >= most_bytes:
            yield window
            window, size = [], 0
    if window:
        yield window
