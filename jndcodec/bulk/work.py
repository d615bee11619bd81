"""A unit of work, planned and done: which layout it is, and what happens where all of it fails."""

from __future__ import annotations

import tarfile
from collections.abc import Container
from typing import TYPE_CHECKING

import pyarrow as pa

from jndcodec.bulk import files, parquet, tars
from jndcodec.bulk.job import Job, Layout, Row, Unit, row
from jndcodec.bulk.manifest import SCHEMA
from jndcodec.bulk.places import Place
from jndcodec.bulk.stages import Coded
from jndcodec.errors import InputError, JndcodecError, OutputError

if TYPE_CHECKING:
    import numpy as np

LAYOUTS: dict[str, Layout] = {layout.NAME: layout for layout in (parquet, tars, files)}  # the first that finds any


def plan(job: Job, done: Container[str] = ()) -> list[Unit]:
    """The units of a job's source, by name, without those that are done (of files: without the files that are).

    InputError where there is nothing in the source, or it is a single file.
    """
    place = Place.at(job.source)
    try:
        sizes = dict(sorted(place.sizes().items()))
    except NotADirectoryError:
        sizes = {}
    if not sizes and place.is_file():
        raise InputError(f"{job.source}: is a file; name the folder that holds it")
    for layout in LAYOUTS.values():
        if units := layout.plan(job, place, sizes):
            if layout is files:
                return files.plan(job, place, {name: size for name, size in sizes.items() if name not in done})
            return [unit for unit in units if unit.name not in done]
    kind = "pictures" if job.encode else ".jlc files"
    raise InputError(f"{job.source}: no {kind}, Parquet files or tars in this folder; name another one")


def unrecorded(job: Job, units: list[Unit], recorded: Container[str]) -> pa.Table:
    """Rows for files that have an output, but none in the manifest: the job was killed in between."""
    there = Place.at(job.target).sizes()
    rows = []
    for unit in units:
        for name, size in unit.files if unit.layout == files.NAME else ():
            target = job.target_name(name)
            if target in there and name not in recorded:
                rows.append(row(name, name, size, Coded()) | {"bytes_out": there[target], "seconds": None})
    return pa.Table.from_pylist(rows, SCHEMA)


class Worker:
    """Does units, for Ray Data's `map_batches`: its stage, and so its model, is made once."""

    def __init__(self, job: Job) -> None:
        self._job, self._stage = job, job.stage()
        self._source, self._target = Place.at(job.source), Place.at(job.target)

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        """Units in JSON to rows of the manifest."""
        rows = [row for text in batch["unit"] for row in self.work(Unit.from_json(str(text)))]
        return pa.Table.from_pylist(rows, SCHEMA)

    def work(self, unit: Unit) -> list[Row]:
        """All rows of a unit, or one for all of it where it cannot be read or written as a whole."""
        try:
            return list(LAYOUTS[unit.layout].work(self._job, self._stage, self._source, self._target, unit))
        except JndcodecError as error:
            return [_failed(unit, str(error), error.exit_code)]
        except (tarfile.TarError, pa.ArrowInvalid) as error:
            return [_failed(unit, f"damaged ({error})", InputError.exit_code)]
        except OSError as error:
            return [_failed(unit, f"cannot be read or written ({error})", OutputError.exit_code)]


def _failed(unit: Unit, error: str, exit_code: int) -> Row:
    return row(unit.name, unit.name, unit.bytes, Coded(error=error, exit_code=exit_code))
