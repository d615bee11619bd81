"""What the commands say about each file: a line on stderr, or JSON on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click

from jndcodec.cli.paths import Task
from jndcodec.errors import JndcodecError

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file on standard output.")


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
    for note in done.notes:
        click.echo(f"{task.source}: note: {note}", err=True)
    click.echo(describe(facts), err=True)


def report_error(source: str, error: JndcodecError, as_json: bool, also: str = "") -> None:
    """One line on stderr that names the file, and with --json an object on stdout."""
    message = str(error)
    if not message.startswith((f"{source}:", f"{also}:")):
        message = f"{source}: {message}"
    click.echo(f"jndcodec: {message}", err=True)
    if as_json:
        click.echo(json.dumps({"input": source, "error": message, "exit_code": error.exit_code}))


def kilobytes(count: int) -> str:
    """A size in bytes for people: 812 B, 45.2 kB, 1.31 MB (powers of ten)."""
    for unit, size in (("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 100 * size else f"{count / size:.0f} {unit}"
    return f"{count} B"
