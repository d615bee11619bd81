"""Which files a command reads, and where each result goes."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from jndcodec.container.jlc import MAGIC
from jndcodec.errors import InputError, JndcodecError, OutputError
from jndcodec.images.suffixes import OTHER_PICTURES, PICTURE_SUFFIXES
from jndcodec.output import descriptor

PIPE = "-"
JLC_SUFFIXES = frozenset({".jlc"})


@dataclass(frozen=True)
class Task:
    """One file to work on; `error` says why it cannot be, `in_folder` that it was found in a folder that was given."""

    source: str
    target: str
    error: JndcodecError | None = None
    in_folder: bool = False


Rename = Callable[[str], str]  # an input's name, without folders, to its output's


def encoded_name(name: str) -> str:
    """a.png -> a.png.jlc: from this name alone, so that no rerun beside other files calls it otherwise."""
    return name + ".jlc"


def decoded_name(name: str, suffix: str | None) -> str:
    """a.png.jlc -> a.png.tif for the suffix ".tif", or a.png for none: with the suffix from before it was encoded.

    A name without such a suffix gets ".png".
    """
    stem = name[: -len(".jlc")] if Path(name).suffix.lower() in JLC_SUFFIXES else name
    if suffix is None and Path(stem).suffix.lower() in PICTURE_SUFFIXES:
        return stem
    return stem + (suffix or ".png")


def plan(
    inputs: Sequence[str],
    output: str | None,
    suffixes: frozenset[str],
    rename: Rename,
    passed: Counter[str] | None = None,
) -> list[Task]:
    """The tasks for a command line, in its order and sorted within a folder.

    One file: to `output`, or beside it as `rename` says. Folders: every file in them with one of `suffixes` (hidden
    ones are passed over), beside it or under the folder `output`, the tree recreated; with more than one input each
    folder keeps its own name there. passed: counts the suffixes of other pictures there, which are passed over.
    Raises click.UsageError for command lines that make no sense.
    """
    if "" in inputs or output == "":
        raise click.UsageError("An empty name is no file: is a variable of the command line unset?")
    inputs = [PIPE if descriptor(name) == 0 else name for name in inputs]
    output = PIPE if output is not None and descriptor(output) == 1 else output
    many = len(inputs) > 1 or os.path.isdir(inputs[0])
    if PIPE in inputs and many:
        raise click.UsageError("'-' (standard input) cannot stand beside other inputs.")
    if many and output is not None and (output == PIPE or (os.path.exists(output) and not os.path.isdir(output))):
        raise click.UsageError("For a folder or several inputs, -o must name a folder.")
    if not many:
        return _spare_inputs([_one(inputs[0], output, rename)])
    passed = Counter() if passed is None else passed
    several = len(inputs) > 1
    found = dict.fromkeys(entry for name in inputs for entry in _walk(name, output, several, suffixes, passed))
    tasks: list[Task] = []
    taken: dict[Path, Path] = {}
    for source, folder, error in found:
        target = folder / rename(source.name)
        first = taken.setdefault(target, source)
        if not error and first != source:
            error = OutputError(f"{source}: {target} is already the output of {first}; do them one by one")
        tasks.append(Task(str(source), str(target), error, in_folder=str(source) not in inputs))
    return _spare_inputs(tasks)


def _spare_inputs(tasks: list[Task]) -> list[Task]:
    """The same tasks, with an error where the output is one of the inputs."""
    inputs = _identities(task.source for task in tasks)
    return [task if task.error else dataclasses.replace(task, error=_taken(task.target, inputs)) for task in tasks]


def spare(output: str | Path, inputs: Iterable[str | Path]) -> None:
    """Raise OutputError where `output` is one of the inputs, under whatever name: no option overwrites those."""
    if error := _taken(output, _identities(inputs)):
        raise error


def _taken(output: str | Path, inputs: set[tuple[int, int]]) -> OutputError | None:
    return OutputError(f"{output}: is one of the inputs; choose another name") if _identity(output) in inputs else None


def _identities(paths: Iterable[str | Path]) -> set[tuple[int, int]]:
    return {identity for path in paths if (identity := _identity(path))}


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Of an ordinary file, the same for all its names; None where there is none."""
    if descriptor(path) is not None or not os.path.isfile(path):
        return None
    with suppress(OSError):
        seen = os.stat(path)
        return seen.st_dev, seen.st_ino
    return None


def standard_input() -> BinaryIO:
    """Its bytes; InputError where it is closed."""
    if sys.stdin is None:
        raise InputError("standard input is closed: name a file, or send one into it")
    return sys.stdin.buffer


def read_jlc(source: str) -> bytes:
    """The bytes of a .jlc file, or of standard input for "-"; of a file that is none, only the start, which shows it.

    Raises InputError; the content is `container.parse`'s to check.
    """
    try:
        with nullcontext(standard_input()) if source == PIPE else open(source, "rb") as stream:
            data = stream.read(len(MAGIC))
            return data + stream.read() if data == MAGIC else data
    except FileNotFoundError:
        raise InputError(f"{source}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{source}: is a folder; name a .jlc file") from None
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from error


def _one(source: str, output: str | None, rename: Rename) -> Task:
    if source == PIPE:
        return Task(source, output or PIPE)
    name = rename(Path(source).name)
    if output is None:
        return Task(source, str(Path(source).with_name(name)))
    if output != PIPE and (os.path.isdir(output) or output.endswith(("/", os.sep))):
        return Task(source, str(Path(output) / name))
    return Task(source, output)


def _walk(
    name: str, output: str | None, keep_name: bool, suffixes: frozenset[str], passed: Counter[str]
) -> Iterator[tuple[Path, Path, JndcodecError | None]]:
    """(source, folder of its target, error) for one input."""
    root = Path(name)
    if not os.path.isdir(root):
        yield root, Path(output) if output else root.parent, None
        return
    base = Path(output) / (root.resolve().name if keep_name else "") if output else root
    empty, unread = True, list[OSError]()
    for folder, folders, files in os.walk(root, onerror=unread.append):
        folders[:] = sorted(entry for entry in folders if not entry.startswith("."))
        for file in sorted(files):
            suffix = Path(file).suffix.lower()
            if not file.startswith(".") and suffix in OTHER_PICTURES:
                passed[suffix] += 1
            elif not file.startswith(".") and suffix in suffixes:
                empty = False
                yield Path(folder) / file, base / Path(folder).relative_to(root), None
    for failure in unread:
        folder = failure.filename or name
        yield Path(folder), base, InputError(f"{folder}: cannot be read ({failure.strerror}); its files are left out")
    if empty and not unread:
        kind = "no .jlc files" if suffixes == JLC_SUFFIXES else "no pictures"
        yield root, base, InputError(f"{name}: {kind} in this folder; name another one")
