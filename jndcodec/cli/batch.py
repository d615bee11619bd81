"""Runs one function over many files: outputs whole or absent, a line for each, bad files reported and passed."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from typing import Any

import click

from jndcodec.cli.paths import PIPE, Task
from jndcodec.cli.progress import Progress
from jndcodec.cli.report import Done, report, report_error
from jndcodec.errors import JndcodecError
from jndcodec.output import check_output, writing

Work = Callable[..., Done]  # (source, progress: Callable[[float], None] | None)


def run(
    tasks: Sequence[Task],
    work: Work,
    describe: Callable[[dict[str, Any]], str],
    *,
    force: bool,
    as_json: bool,
    processes: int = 1,
    fatal: tuple[type[JndcodecError], ...] = (),
) -> None:
    """Do `work` on every task and write what it returns; ends the program with the code of the first error, if any.

    The work itself writes nothing: only this process does, whole files, so that Ctrl-C, a killed worker or a full disk
    leaves nothing partial. describe: facts to the summary line, which goes to stderr. as_json: one JSON object per file
    on stdout instead. fatal: errors that the other files would meet too; they end the run.
    Raises click.UsageError where data and JSON, or data and a terminal, would mix on stdout.
    """
    to_stdout = any(task.target == PIPE for task in tasks)
    if to_stdout and as_json:
        raise click.UsageError("--json needs standard output for itself: give -o FILE.")
    if to_stdout and sys.stdout.isatty():
        raise click.UsageError("Standard output is a terminal: give -o FILE, or send it to a file or program.")
    first: JndcodecError | None = None
    processes = min(processes, len(tasks))
    with (
        _stoppable(),
        Progress(len(tasks)) as progress,
        closing(_results(tasks, work, force, processes, progress)) as results,
    ):
        for task, result in results:
            try:
                done = result()
                with writing(task.target, force) as stream:
                    stream.write(done.data)
                report(task, done, describe, as_json)
            except JndcodecError as error:
                first = first or error
                report_error(task.source, error, as_json, also=task.target)
                if isinstance(error, fatal):
                    break
            except BrokenProcessPool as error:
                raise JndcodecError("a worker process died, likely for lack of memory: lower --jobs") from error
            progress.next()
    if first:
        sys.exit(first.exit_code)


def _results(
    tasks: Sequence[Task], work: Work, force: bool, processes: int, progress: Progress
) -> Iterator[tuple[Task, Callable[[], Done]]]:
    """Each task, in order, with a call that gives its result or raises its error."""

    def check(task: Task) -> None:
        if task.error:
            raise task.error
        check_output(task.target, force)

    if processes <= 1:
        for task in tasks:

            def result(task: Task = task) -> Done:
                check(task)
                return work(task.source, progress=progress.part)

            yield task, result
        return

    def submit(task: Task) -> Callable[[], Done]:
        try:
            check(task)
        except JndcodecError as error:
            failed: Future[Done] = Future()
            failed.set_exception(error)
            return failed.result
        return pool.submit(work, task.source, progress=None).result

    with _pool(processes) as pool:
        pending: deque[tuple[Task, Callable[[], Done]]] = deque()
        for task in tasks:
            pending.append((task, submit(task)))
            if len(pending) >= 2 * processes:  # enough to keep all busy; more would hoard results in memory
                yield pending.popleft()
        yield from pending


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that end at once when the block is left by an exception: they have nothing on disk to clean."""
    context = multiprocessing.get_context("spawn")  # forked copies of torch's threads hang
    pool = ProcessPoolExecutor(processes, context, initializer=_default_interrupt)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _default_interrupt() -> None:
    """In a worker: Ctrl-C ends it silently; the main process reports."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _stoppable() -> Iterator[None]:
    """While the block runs, SIGTERM unwinds the program as Ctrl-C does, so that temporary files are removed."""

    def stop(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
