"""WebDataset tars: a sample's picture is replaced, all its other members stay."""

from __future__ import annotations

import copy
import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jndcodec.bulk.job import FLUSH, Job, Row, Unit, hidden, row
from jndcodec.bulk.places import Place
from jndcodec.bulk.stages import Coded, Stage

NAME = "tars"
Member = tuple[tarfile.TarInfo, bytes]


def plan(job: Job, place: Place, sizes: dict[str, int]) -> list[Unit]:
    return [
        Unit(NAME, name, ((name, size),)) for name, size in sizes.items() if name.endswith(".tar") and not hidden(name)
    ]


def work(job: Job, stage: Stage, source: Place, target: Place, unit: Unit) -> Iterator[Row]:
    with (
        _written(job, target, unit) as before,
        source.open(unit.name) as stream,
        target.writing(unit.name) as out,
        tarfile.open(fileobj=stream, mode="r|") as tar,
        tarfile.open(fileobj=out, mode="w|") as made,
    ):
        held: list[Member] = []
        for info in tar:
            content = tar.extractfile(info)
            held.append((info, content.read() if content else b""))
            taken = sum(job.takes(info.name) for info, _ in held)
            if taken >= job.batch or sum(len(data) for _, data in held) > FLUSH:
                yield from _flush(job, stage, unit, held, made, before)
                held = []
        yield from _flush(job, stage, unit, held, made, before)


def _flush(
    job: Job, stage: Stage, unit: Unit, held: list[Member], made: tarfile.TarFile, before: Callable[[str], bytes | None]
) -> Iterator[Row]:
    """Write the members in their order; a picture that failed is left out."""
    kept = {info.name: before(job.target_name(info.name)) for info, _ in held if _is_picture(job, info)}
    todo = [data for info, data in held if _is_picture(job, info) and kept[info.name] is None]
    fresh = iter(stage.run(todo))
    for info, data in held:
        if not _is_picture(job, info):
            made.addfile(info, io.BytesIO(data))
            continue
        old = kept[info.name]
        coded = next(fresh) if old is None else Coded(old)
        if coded.data is not None:
            renamed = copy.copy(info)
            renamed.name, renamed.size = job.target_name(info.name), len(coded.data)
            renamed.pax_headers = {}
            made.addfile(renamed, io.BytesIO(coded.data))
        yield row(unit.name, f"{unit.name}/{info.name}", len(data), coded)


def _is_picture(job: Job, info: tarfile.TarInfo) -> bool:
    return info.isfile() and job.takes(info.name)


@contextmanager
def _written(job: Job, target: Place, unit: Unit) -> Iterator[Callable[[str], bytes | None]]:
    """What an earlier run has made of a member, by its name in the output."""
    if not (job.again and target.is_file(unit.name)):
        yield lambda name: None
        return
    with target.open(unit.name) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        members = {info.name: info for info in tar}

        def read(name: str) -> bytes | None:
            content = tar.extractfile(members[name]) if name in members else None
            return content.read() if content else None

        yield read
