"""Pictures as single files: a folder's tree is recreated. Reading and writing go on beside the coding."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from jndcodec.bulk.job import FLUSH, Job, Row, Unit, row
from jndcodec.bulk.places import Place
from jndcodec.bulk.stages import Coded, Stage
from jndcodec.errors import InputError, OutputError

NAME = "files"
UNIT = 32  # files, or FLUSH bytes
READERS = 8  # a store answers slowly, but many at a time


def plan(job: Job, place: Place, sizes: dict[str, int]) -> list[Unit]:
    units: list[Unit] = []
    group: list[tuple[str, int]] = []
    for name, size in sizes.items():
        if job.takes(name):
            if group and (len(group) == UNIT or sum(size for _, size in group) + size > FLUSH):
                units.append(_unit(group))
                group = []
            group.append((name, size))
    return units + ([_unit(group)] if group else [])


def _unit(group: list[tuple[str, int]]) -> Unit:
    return Unit(NAME, group[0][0], tuple(group), count=len(group))


def work(job: Job, stage: Stage, source: Place, target: Place, unit: Unit) -> Iterator[Row]:
    names = [name for name, _ in unit.files]
    with ThreadPoolExecutor(READERS) as pool:
        reading = [pool.submit(source.read, name) for name in names]
        written: list[Future[Row]] = []
        for start in range(0, len(names), job.batch):
            some = slice(start, start + job.batch)
            inputs = [_content(future) for future in reading[some]]
            good = iter(stage.run([data for data in inputs if isinstance(data, bytes)]))
            for name, data in zip(names[some], inputs, strict=True):
                size, coded = (len(data), next(good)) if isinstance(data, bytes) else (None, data)
                written.append(pool.submit(_write, target, job.target_name(name), row(name, name, size, coded), coded))
            reading[some] = []
            names[some] = []
        yield from (future.result() for future in written)


def _content(future: Future[bytes]) -> bytes | Coded:
    try:
        return future.result()
    except OSError as error:
        return Coded(error=f"cannot be read ({error})", exit_code=InputError.exit_code)


def _write(target: Place, name: str, about: Row, coded: Coded) -> Row:
    if coded.data is not None:
        try:
            with target.writing(name) as stream:
                stream.write(coded.data)
        except OSError as error:
            failed = {"error": f"cannot be written ({error})", "exit_code": OutputError.exit_code, "bytes_out": None}
            return about | failed
    return about
