"""What the commands say about each file: a line on stderr, or JSON on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from jndcodec.cli.paths import Task
from jndcodec.errors import JndcodecError

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file on standard output.")


def say(line: str) -> None:
    """One line on stderr. What a name holds that would break the line or drive the terminal is shown as its code."""
    click.echo("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line), err=True)


def say_notes(source: str | Path, notes: Iterable[str]) -> None:
    """What was converted or left out of a picture."""
    for note in notes:
        say(f"{source}: note: {note}")


@dataclass
class Done:
    """What became of a file: its output's bytes, facts for --json, notes on what was converted or left out."""

    data: bytes
    facts: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def report(task: Task, done: Done, describe: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    """The summary of a file that went well, and its notes."""
    facts = {"input": task.source, "output": task.target, **done.facts, "notes": done.notes}
    if as_json:
        click.echo(json.dumps(facts))
        return
    say_notes(task.source, done.notes)
    say(describe(facts))


def report_error(source: str, error: JndcodecError, as_json: bool, also: str = "") -> None:
    """One line on stderr that names the file, and with --json an object on stdout."""
    message = str(error)
    if not message.startswith((f"{source}:", f"{also}:")):
        message = f"{source}: {message}"
    say(f"jndcodec: {message}")
    if as_json:
        click.echo(json.dumps({"input": source, "error": message, "exit_code": error.exit_code}))


def kilobytes(count: int) -> str:
    """A size in bytes for people: 812 B, 45.2 kB, 1.31 MB (powers of ten)."""
    for unit, size in (("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 100 * size else f"{count / size:.0f} {unit}"
    return f"{count} B"


class Total:
    """The last line of a run over several files: what became of them, and the bytes of those that were worked on."""

    def __init__(self, verb: str, *, several: bool) -> None:
        self.verb, self.several = verb, several
        self.first_error: JndcodecError | None = None
        self._done = self._kept = self._failed = self._bytes_in = self._bytes_out = 0

    def add(self, done: Done) -> None:
        self._done += 1
        self._bytes_in += done.facts["input_bytes"]
        self._bytes_out += done.facts["bytes"]

    def fail(self, error: JndcodecError) -> None:
        self._failed += 1
        self.first_error = self.first_error or error

    def keep(self, task: Task, as_json: bool) -> bool:
        """Count a file whose output stays as it is, and say so where it is the only one. Always true."""
        self._kept += 1
        if as_json:
            click.echo(json.dumps({"input": task.source, "output": task.target, "kept": True}))
        elif not self.several:
            say(f"{task.source}: kept {task.target}, which is there already")
        return True

    def report(self) -> None:
        if not self.several:
            return
        line = f"{self.verb} {self._done}, kept {self._kept}, failed {self._failed}"
        if self._done:
            line += f", {self._bytes_in} -> {self._bytes_out} bytes"
        if self._done and self.verb == "coded":
            line += f", saved {100 * (1 - self._bytes_out / max(1, self._bytes_in)):.0f} %"
        click.echo(line, err=True)


def by_engine(facts: dict[str, Any]) -> str:
    """Which engine ran the networks, where any did."""
    return f" ({facts['engine']})" if facts["engine"] else ""
