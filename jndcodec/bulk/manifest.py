"""What became of every picture, as a Parquet file beside the outputs: `_manifest.parquet`.

While a job runs its rows are in small parts, each whole, so that a job that is killed at any moment loses no more than
the last seconds of them. Names that begin with "_" are passed over by whatever reads a folder of Parquet files.
"""

from __future__ import annotations

import time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jndcodec.bulk.places import Place

NAME = "_manifest.parquet"
PARTS = "_manifest"
SECONDS = 5.0  # between parts
SCHEMA = pa.schema(
    {
        "unit": pa.string(),  # the file itself, or the Parquet file or tar of the output
        "key": pa.string(),
        "bytes_in": pa.int64(),
        "bytes_out": pa.int64(),
        "jnd": pa.float64(),
        "seconds": pa.float64(),
        "error": pa.string(),
        "exit_code": pa.int32(),
    }
)


class Manifest:
    """Of one target. A unit that is done again replaces all its rows."""

    def __init__(self, target: Place) -> None:
        self._target = target
        self._held: list[pa.Table] = []
        self._last = time.monotonic()

    def load(self) -> pa.Table:
        """All rows there are; of those of a unit the latest only."""
        tables = [self._read(NAME, -1)] if self._target.is_file(NAME) else []
        tables += [self._read(name, i) for i, name in enumerate(self._parts())]
        table = (
            pa.concat_tables(tables) if tables else SCHEMA.empty_table().append_column("part", pa.array([], "int64"))
        )
        latest = table.group_by("unit").aggregate([("part", "max")])
        joined = table.join(latest, "unit")
        return joined.filter(pc.equal(joined["part"], joined["part_max"])).select(SCHEMA.names)

    def units(self) -> tuple[set[str], set[str]]:
        """Those in which all went well, and those with an error."""
        table = self.load()
        failed = set(table.filter(pc.is_valid(table["error"]))["unit"].to_pylist())
        return set(table["unit"].to_pylist()) - failed, failed

    def clear(self) -> None:
        for name in [*self._parts(), *([NAME] if self._target.is_file(NAME) else [])]:
            self._target.delete(name)

    def add(self, rows: pa.Table) -> None:
        """Whole units' rows; written every few seconds."""
        self._held.append(rows)
        if time.monotonic() - self._last > SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._held:
            following = int(parts[-1][-14:-8]) + 1 if (parts := self._parts()) else 0
            self._write(f"{PARTS}/{following:06}.parquet", pa.concat_tables(self._held))
        self._held, self._last = [], time.monotonic()

    def finish(self) -> pa.Table:
        """Make one file of the parts, and return its rows."""
        self.flush()
        table = self.load().sort_by([("unit", "ascending"), ("key", "ascending")])
        self._write(NAME, table)
        for part in self._parts():
            self._target.delete(part)
        return table

    def _parts(self) -> list[str]:
        return sorted(name for name in self._target.sizes(PARTS) if name.endswith(".parquet"))

    def _read(self, name: str, part: int) -> pa.Table:
        with self._target.open(name) as stream:
            table = pq.read_table(stream, schema=SCHEMA)
        return table.append_column("part", pa.array([part] * len(table), "int64"))

    def _write(self, name: str, table: pa.Table) -> None:
        with self._target.writing(name) as stream:
            pq.write_table(table, stream)
