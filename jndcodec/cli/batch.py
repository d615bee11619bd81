"""Runs one function over many files: outputs whole or absent, a line for each, bad files reported and passed."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import click

from jndcodec.cli.paths import PIPE, Task
from jndcodec.cli.progress import Progress
from jndcodec.cli.report import Done, report, report_error
from jndcodec.errors import JndcodecError
from jndcodec.output import check_output, writing
from jndcodec.workers import map_in_order, stoppable

Work = Callable[..., Done]  # (source, progress=None): a function of a module or a partial of one, for other processes


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
    with stoppable(), Progress(len(tasks)) as progress:
        if processes == 1:  # a bar within the file makes no sense with several at the same time
            work = functools.partial(work, progress=progress.part)
        attempt = functools.partial(_attempt, work, force)
        with closing(map_in_order(attempt, tasks, processes)) as results:
            for task, result in results:
                try:
                    if isinstance(result, JndcodecError):
                        raise result
                    with writing(task.target, force) as stream:
                        stream.write(result.data)
                    report(task, result, describe, as_json)
                except JndcodecError as error:
                    first = first or error
                    report_error(task.source, error, as_json, also=task.target)
                    if isinstance(error, fatal):
                        break
                progress.next()
    if first:
        sys.exit(first.exit_code)


def _attempt(work: Work, force: bool, task: Task) -> Done | JndcodecError:
    """Runs in worker processes too: the error is a result, so that the other files go on."""
    try:
        if task.error:
            raise task.error
        check_output(task.target, force)  # before the work, and again when it is written
        return work(task.source)
    except JndcodecError as error:
        return error
