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
    work: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int,
    preload: Sequence[str] = (),
    lost: Callable[[Item], Result] | None = None,
) -> Generator[tuple[Item, Result], None, None]:
    """Each item with work(item), in the order of the items, worked on by `jobs` processes (1: by this one).

    `work` is a function of a module or a `functools.partial` of one. At most a few results wait in memory. Leaving the
    loop by an exception ends the workers at once. preload: see `worker_pool`. lost: the result of an item that a worker
    died of; the others go on. Without it that is a JndcodecError.
    """
    if jobs <= 1:
        for item in items:
            yield item, work(item)
        return
    left = iter(items)
    pending: deque[tuple[Item, Future[Result]]] = deque()
    while True:
        try:
            with worker_pool(jobs, preload) as pool:
                for item in left:
                    pending.append((item, _submit(pool, work, item)))
                    if len(pending) >= 2 * jobs:  # enough to keep all busy
                        yield pending[0][0], pending[0][1].result()
                        pending.popleft()
                while pending:
                    yield pending[0][0], pending[0][1].result()
                    pending.popleft()
            return
        except BrokenProcessPool as error:
            if lost is None:
                raise JndcodecError("a worker process died, likely for lack of memory: lower --jobs") from error
        while pending:  # each that was under way alone: nobody knows which one it was
            item, future = pending.popleft()
            yield item, _alone(work, item, future, preload, lost)


def _submit(pool: ProcessPoolExecutor, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    """Where the pool is broken already, a future that says so."""
    try:
        return pool.submit(work, item)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _alone(
    work: Callable[[Item], Result],
    item: Item,
    future: Future[Result],
    preload: Sequence[str],
    lost: Callable[[Item], Result],
) -> Result:
    if future.done() and not future.cancelled() and not future.exception():
        return future.result()
    try:
        with worker_pool(1, preload) as pool:
            return pool.submit(work, item).result()
    except BrokenProcessPool:
        return lost(item)


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
