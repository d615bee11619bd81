"""What a bulk job is: from where to where, by which stage, in which units of work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from jndcodec.bulk.places import Place
from jndcodec.bulk.stages import Coded, Decode, Encode, Stage

FLUSH = 64 << 20  # bytes of pictures that are held at most before they are written

Row = dict[str, Any]  # of the manifest


@dataclass(frozen=True)
class Job:
    """Everything that workers need to know, small enough to send along."""

    source: str
    target: str
    encode: bool  # or decode
    suffixes: frozenset[str]  # of the names that are taken, in folders and tars
    rename: Callable[[str], str]  # an input's name, without folders, to its output's; a function of a module
    options: dict[str, Any]  # of Encode or Decode
    column: str = "bytes"  # of Parquet files
    key: str | None = None  # their column of keys; None: file and row
    batch: int = 1  # pictures coded together
    again: bool = False  # reuse what an earlier run has written

    def stage(self) -> Stage:
        """A new one, with its model loaded."""
        return Encode(**self.options) if self.encode else Decode(**self.options)

    def target_name(self, name: str) -> str:
        """With its folders."""
        folder, slash, base = name.rpartition("/")
        return folder + slash + self.rename(base)

    def takes(self, name: str) -> bool:
        """Whether a file or tar member of this name is one to work on."""
        return not hidden(name) and "." in name and f".{name.rpartition('.')[2].lower()}" in self.suffixes


@dataclass(frozen=True)
class Unit:
    """What one call of a worker does: a few files, a row group of a Parquet file, or a tar. `name` stays the same from
    run to run; it is the output's too, but for files."""

    layout: str
    name: str
    files: tuple[tuple[str, int], ...]  # (name, bytes) of what is read
    row_group: int = 0

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.files)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Unit:
        found = json.loads(text)
        return cls(**found | {"files": tuple((name, size) for name, size in found["files"])})


class Layout(Protocol):
    """A module for each way in which pictures lie in a place."""

    def plan(self, job: Job, place: Place, sizes: dict[str, int]) -> list[Unit]:
        """The units among all files of a place, {name: bytes}; none where it has none of its kind."""

    def work(self, job: Job, stage: Stage, source: Place, target: Place, unit: Unit) -> Iterable[Row]:
        """Do a unit: write its outputs, whole or not at all, and say what became of each picture."""


def row(unit: str, key: str, bytes_in: int | None, coded: Coded) -> Row:
    """A line of the manifest."""
    return {
        "unit": unit,
        "key": key,
        "bytes_in": bytes_in,
        "bytes_out": None if coded.data is None else len(coded.data),
        "jnd": coded.jnd,
        "seconds": coded.seconds,
        "error": coded.error,
        "exit_code": coded.exit_code,
    }


def hidden(name: str, marks: str = ".") -> bool:
    """Whether a file or a folder above it is hidden; with "_" too as by Spark and Arrow."""
    return any(part[0] in marks for part in name.split("/") if part not in ("", "."))
