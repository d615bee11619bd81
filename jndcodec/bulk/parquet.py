"""Parquet files with a column of bytes: each row group becomes a file with the same columns, and one for errors."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from jndcodec.bulk.job import FLUSH, Job, Row, Unit, hidden, row
from jndcodec.bulk.places import Place
from jndcodec.bulk.stages import Coded, Stage
from jndcodec.errors import DataError

NAME = "parquet"


def plan(job: Job, place: Place, sizes: dict[str, int]) -> list[Unit]:
    units = []
    for name in sizes:
        if name.endswith(".parquet") and not hidden(name, "._"):
            with place.open(name) as stream:
                file = pq.ParquetFile(stream)
                _check_columns(job, name, file.schema_arrow)
                groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            for i, group in enumerate(groups):
                target = name if len(groups) == 1 else f"{name.removesuffix('.parquet')}-{i:05}.parquet"
                units.append(Unit(NAME, target, ((name, group.total_byte_size),), i))
    return units


def _check_columns(job: Job, name: str, schema: pa.Schema) -> None:
    kinds = {field.name: field.type for field in schema}
    there = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    kind = kinds.get(job.column)
    if kind is None or not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(f"{name}: no column {job.column} of bytes; name one of its columns with --column: {there}")
    if job.key is not None and job.key not in kinds:
        raise DataError(f"{name}: no column {job.key}; name one of its columns with --key: {there}")


def work(job: Job, stage: Stage, source: Place, target: Place, unit: Unit) -> Iterator[Row]:
    before = _written(job, target, unit)
    (name, _), *_ = unit.files
    with source.open(name) as stream, target.writing(unit.name) as out:
        file = pq.ParquetFile(stream, pre_buffer=False)
        at = sum(file.metadata.row_group(i).num_rows for i in range(unit.row_group))
        schema = _with_error(file.schema_arrow.empty_table(), job.column, [], []).schema
        with pq.ParquetWriter(out, schema) as writer:
            held: list[pa.Table] = []
            for batch in file.iter_batches(job.batch, row_groups=[unit.row_group]):
                table = pa.Table.from_batches([batch])
                values = table.column(job.column).to_pylist()
                coded = _code(stage, values, [next(before, None) for _ in values])
                held.append(_with_error(table, job.column, [one.data for one in coded], [one.error for one in coded]))
                if sum(table.nbytes for table in held) > FLUSH:
                    writer.write_table(pa.concat_tables(held))
                    held = []
                for i, (value, one) in enumerate(zip(values, coded, strict=True)):
                    key = f"{name}#{at + i}" if job.key is None else str(table.column(job.key)[i].as_py())
                    yield row(unit.name, key, None if value is None else len(value), one)
                at += len(values)
            if held:
                writer.write_table(pa.concat_tables(held))


def _code(stage: Stage, values: list[bytes | None], before: list[bytes | None]) -> list[Coded]:
    fresh = iter(stage.run([value for value, old in zip(values, before, strict=True) if old is None]))
    return [next(fresh) if old is None else Coded(old) for old in before]


def _written(job: Job, target: Place, unit: Unit) -> Iterator[bytes | None]:
    """What an earlier run has made of each row; nothing where it failed or never came so far."""
    if job.again and target.is_file(unit.name):
        with target.open(unit.name) as stream:
            for batch in pq.ParquetFile(stream, pre_buffer=False).iter_batches(job.batch, columns=[job.column]):
                yield from batch.column(0).to_pylist()


def _with_error(table: pa.Table, column: str, data: list[bytes | None], errors: list[str | None]) -> pa.Table:
    at = table.schema.get_field_index(column)
    kind = table.schema.field(at).type
    table = table.set_column(at, pa.field(column, kind), pa.array(data, kind))
    if (there := table.schema.get_field_index("error")) >= 0:
        table = table.remove_column(there)
    return table.append_column("error", pa.array(errors, pa.string()))
