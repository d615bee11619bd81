"""Runs one function over many files: outputs whole or absent, a line for each, bad files reported and passed."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

import click

from jndcodec.cli.paths import PIPE, Task
from jndcodec.cli.progress import Progress
from jndcodec.cli.report import Done, Total, report, report_error
from jndcodec.errors import JndcodecError, LimitError, OutputError
from jndcodec.model.choice import engine_for
from jndcodec.output import check_output, descriptor, writing
from jndcodec.workers import map_in_order, stoppable

Work = Callable[..., Done]  # (source, progress=None): a function of a module or a partial of one, for other processes


class Existing(Enum):
    """What happens where an output is there already."""

    REFUSE = "refuse"
    OVERWRITE = "overwrite"
    SKIP = "skip"
    UPDATE = "update"  # overwritten where its input is newer, skipped elsewhere


@dataclass(frozen=True)
class Handling:
    """Of outputs. times: each gets the time of its input (None: in folders alone). as_json: one JSON object per file on
    stdout instead of the summary lines."""

    existing: Existing
    times: bool | None
    as_json: bool


def run(
    tasks: Sequence[Task],
    work: Work,
    describe: Callable[[dict[str, Any]], str],
    how: Handling,
    *,
    verb: str,
    processes: int = 1,
    fatal: tuple[type[JndcodecError], ...] = (),
) -> None:
    """Do `work` on every task and write what it returns; ends the program with the code of the first error, if any.

    The work itself writes nothing: only this process does, whole files, so that Ctrl-C, a killed worker or a full disk
    leaves nothing partial. describe: facts to the summary line, which goes to stderr. verb: what has been done to the
    files, for the total at the end of a run over several. fatal: errors that the other files would meet too; they end
    the run.
    Raises click.UsageError where data and JSON, or data and a terminal, would mix on stdout.
    """
    to_stdout = any(task.target == PIPE for task in tasks)
    if to_stdout and how.as_json:
        raise click.UsageError("--json needs standard output for itself: give -o FILE.")
    if to_stdout and sys.stdout is None:
        raise OutputError("standard output is closed: give -o FILE, or send it to a file or program")
    if to_stdout and sys.stdout.isatty():
        raise click.UsageError("Standard output is a terminal: give -o FILE, or send it to a file or program.")
    total = Total(verb, several=len(tasks) > 1)
    todo = [task for task in tasks if not (_is_kept(task, how.existing) and total.keep(task, how.as_json))]
    force = how.existing in (Existing.OVERWRITE, Existing.UPDATE)
    processes = min(processes, max(1, len(todo)))
    with stoppable(), Progress(len(todo)) as progress:
        if processes == 1:  # a bar within the file makes no sense with several at the same time
            work = functools.partial(work, progress=progress.part)
        attempt = functools.partial(_attempt, work, force)
        with closing(map_in_order(attempt, _announced(todo), processes, _preload(len(tasks)), _lost)) as results:
            for task, result in results:
                try:
                    if isinstance(result, JndcodecError):
                        raise result
                    with writing(task.target, force) as stream:
                        stream.write(result.data)
                    if task.in_folder if how.times is None else how.times:
                        _keep_time(task)
                    report(task, result, describe, how.as_json)
                    total.add(result)
                except JndcodecError as error:
                    total.fail(error)
                    report_error(task.source, error, how.as_json, also=task.target)
                    if isinstance(error, fatal):
                        sys.exit(error.exit_code)
                progress.next()
    total.report()
    if total.first_error:
        sys.exit(total.first_error.exit_code)


def _preload(files: int) -> tuple[str, ...]:
    """What takes time to load and all files need, where nothing else is asked for."""
    engine = engine_for("auto", "auto", pictures=files)
    return "jndcodec.rate.target", "jndcodec.model.native" if engine == "torch" else "jndcodec.model.onnx_model"


def _is_kept(task: Task, existing: Existing) -> bool:
    """Whether the output is there already and stays. A device or a pipe never is."""
    if task.error or existing not in (Existing.SKIP, Existing.UPDATE) or not _is_file(task.target):
        return False
    with suppress(OSError):  # what cannot be looked at is met again, and reported, in the work
        return existing is Existing.SKIP or os.stat(task.target).st_mtime_ns >= os.stat(task.source).st_mtime_ns
    return False


def _is_file(path: str) -> bool:
    """An ordinary one, neither a pipe nor one that the shell has opened."""
    return descriptor(path) is None and os.path.isfile(path)


def _keep_time(task: Task) -> None:
    with suppress(OSError):  # the input may be gone by now, or the file system hold no such time: no reason to fail
        if _is_file(task.target) and _is_file(task.source):
            seen = os.stat(task.source)
            os.utime(task.target, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def _announced(tasks: Sequence[Task]) -> Iterator[Task]:
    """The tasks, a few ahead of the work: the system reads each file from now on, beside the coding."""
    for task in tasks:
        with suppress(OSError):
            if hasattr(os, "posix_fadvise") and os.path.isfile(task.source):  # a pipe must not be touched twice
                with open(task.source, "rb", buffering=0) as stream:
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
        yield task


def _lost(task: Task) -> Done | JndcodecError:
    return LimitError(f"{task.source}: its worker process died, likely for lack of memory; make the picture smaller")


def _attempt(work: Work, force: bool, task: Task) -> Done | JndcodecError:
    """Runs in worker processes too: the error is a result, so that the other files go on. Whatever it is: libraries
    raise nearly anything, and a traceback tells nobody which file it was."""
    try:
        if task.error:
            raise task.error
        check_output(task.target, force)  # before the work, and again when it is written
        return work(task.source)
    except JndcodecError as error:
        return error
    except MemoryError:
        return LimitError("not enough memory for it; make the picture smaller, or lower --jobs")
    except Exception as error:
        reason = " ".join(str(error).split())
        return JndcodecError(f"failed unexpectedly ({type(error).__name__}: {reason}); please report it with this file")
