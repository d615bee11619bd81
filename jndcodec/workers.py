"""Worker processes for work on many files, which stop at once and leave nothing behind."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from jndcodec.errors import JndcodecError
from jndcodec.threads import limit_blas

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], jobs: int, preload: Sequence[str] = ()
) -> Generator[tuple[Item, Result], None, None]:
    """Each item with work(item), in the order of the items, worked on by `jobs` processes (1: by this one).

    `work` is a function of a module or a `functools.partial` of one. At most a few results wait in memory. Leaving the
    loop by an exception ends the workers at once. preload: see `worker_pool`. Raises JndcodecError if one dies.
    """
    if jobs <= 1:
        for item in items:
            yield item, work(item)
        return
    try:
        with worker_pool(jobs, preload) as pool:
            pending: deque[tuple[Item, Future[Result]]] = deque()
            for item in items:
                pending.append((item, pool.submit(work, item)))
                if len(pending) >= 2 * jobs:  # enough to keep all busy
                    first, future = pending.popleft()
                    yield first, future.result()
            for item, future in pending:
                yield item, future.result()
    except BrokenProcessPool as error:
        raise JndcodecError("a worker process died, likely for lack of memory: lower --jobs") from error


@contextmanager
def worker_pool(jobs: int, preload: Sequence[str] = ()) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that end at once when the block is left by an exception.

    preload: modules that all work needs and that take seconds to load, such as those with torch. On Linux one process
    loads them and the workers are copies of it: they start at once, and share that memory.
    """
    pool = ProcessPoolExecutor(jobs, _context(preload), initializer=_begin)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        while children := multiprocessing.active_children():  # one that was just being started may miss the first call
            for child in children:
                child.kill()
                child.join(1)
        raise


def _context(preload: Sequence[str]) -> multiprocessing.context.BaseContext:
    """Copies of this process would hang where torch has started threads, so none is made: a server that has loaded
    `preload` and started no thread is copied, or a new process begins from nothing."""
    if not preload or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    before = set(os.environ)
    limit_blas(1)  # numpy's own threads would not be there in a copy
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        for variable in set(os.environ) - before:
            del os.environ[variable]
    return context


def _begin() -> None:
    """In a worker: Ctrl-C ends it silently, as the main process reports; and there is a worker for each core, so numpy
    has its BLAS on one thread."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    limit_blas(1)


@contextmanager
def stoppable() -> Iterator[None]:
    """While the block runs, SIGTERM unwinds the program as Ctrl-C does, so that temporary files are removed."""

    def stop(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
