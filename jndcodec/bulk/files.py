"""Pictures as single files: a folder's tree is recreated. Reading and writing go on beside the coding."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from jndcodec.bulk.job import FLUSH, Job, Row, Unit, row
from jndcodec.bulk.places import Place
from jndcodec.bulk.stages import Coded, Stage
from jndcodec.errors import InputError, OutputError

NAME = "files"
UNIT = 16  # files, or FLUSH bytes
UNITS = 64  # at least, where there are as many files: enough for every worker to have some, and news now and then
READERS = 4  # a store answers slowly, but to many at a time


def plan(job: Job, place: Place, sizes: dict[str, int]) -> list[Unit]:
    found = [(name, size) for name, size in sizes.items() if job.takes(name)]
    most = min(UNIT, max(1, len(found) // UNITS))
    groups: list[list[tuple[str, int]]] = []
    for name, size in found:
        if not groups or len(groups[-1]) == most or sum(size for _, size in groups[-1]) + size > FLUSH:
            groups.append([])
        groups[-1].append((name, size))
    return [Unit(NAME, group[0][0], tuple(group)) for group in groups]


def work(job: Job, stage: Stage, source: Place, target: Place, unit: Unit) -> Iterator[Row]:
    names = [name for name, _ in unit.files]
    with ThreadPoolExecutor(READERS) as pool:
        reading = deque(pool.submit(source.read, name) for name in names)
        written: deque[tuple[int, Future[Row]]] = deque()
        for start in range(0, len(names), job.batch):
            some = names[start : start + job.batch]
            inputs = [_content(reading.popleft()) for _ in some]
            good = iter(stage.run([data for data in inputs if isinstance(data, bytes)]))
            for name, data in zip(some, inputs, strict=True):
                size, coded = (len(data), next(good)) if isinstance(data, bytes) else (None, data)
                future = pool.submit(_write, target, job.target_name(name), row(name, name, size, coded), coded)
                written.append((len(coded.data or b""), future))
            while sum(size for size, future in written if not future.done()) > FLUSH:  # the store is slower than we are
                yield written.popleft()[1].result()
        yield from (future.result() for _, future in written)


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
