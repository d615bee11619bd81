"""A progress bar on a terminal's stderr; nothing anywhere else."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.progress

_SLOW = 1.0  # seconds after which a single file gets a bar


class Progress:
    """Counts files, and parts of the file at work. A context manager."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._done = 0
        self._start = time.monotonic()
        self._wanted = sys.stderr.isatty()
        self._bar: rich.progress.Progress | None = None

    def __enter__(self) -> Progress:
        if self._files > 1:
            self._show(0.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def part(self, fraction: float) -> None:
        """The file at work is done to this fraction, 0 … 1."""
        if self._bar is not None or time.monotonic() - self._start > _SLOW:
            self._show(self._done + fraction)

    def next(self) -> None:
        """A file is done."""
        self._done += 1
        if self._bar is not None:
            self._show(self._done)

    def _show(self, completed: float) -> None:
        if not self._wanted:
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task("", total=self._files)
            self._bar.start()
        text = f"{self._done} of {self._files} files" if self._files > 1 else ""
        self._bar.update(self._bar.task_ids[0], completed=completed, description=text)
