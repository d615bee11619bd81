"""A job on Ray Data: units go to a pool of actors, their rows come back as they are done, and into the manifest.

Ray does the scheduling: an actor that dies is started anew and its unit is done again, which writes the same names.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from ray.exceptions import RayError

from jndcodec.batches import ON_GPU
from jndcodec.bulk.job import Job
from jndcodec.bulk.manifest import SCHEMA, Manifest
from jndcodec.bulk.places import Place
from jndcodec.bulk.work import Worker, plan, unrecorded
from jndcodec.capacity import MEMORY_PER_JOB, cores
from jndcodec.errors import JndcodecError, OutputError

MOST_BLOCKS = 4096  # of Ray's, which tell its scheduler's work; each holds at least one unit
LOCAL = "local"


@dataclass(frozen=True)
class Means:
    """What a job runs on. ray: a cluster's address, or "local" for this machine alone. concurrency: workers, as many as
    there is room for by default; each has `threads` CPU threads and `gpus` GPUs (or a share of one)."""

    ray: str = LOCAL
    concurrency: int | None = None
    threads: int = 1
    gpus: float = 0.0


@dataclass
class Progress:
    """How far a job is. bytes_in and bytes_out: of what went well. bytes_total: of the input, as it lies there;
    bytes_done: of the units that came back."""

    pictures: int = 0
    failed: int = 0
    kept: int = 0  # done by an earlier run
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        if not self.bytes_done:
            return None
        return self.seconds * max(0, self.bytes_total - self.bytes_done) / self.bytes_done


def run(
    job: Job, means: Means, *, resume: bool = False, force: bool = False, watch: Callable[[Progress], None]
) -> pa.Table:
    """Do a job, and return its manifest. watch: called whenever a unit is done.

    resume: leave what went well in an earlier run and do the rest. force: the target need not be empty. Errors of
    pictures stand in the manifest. InputError, OutputError (the target is not empty), ModelError; JndcodecError where
    Ray fails.
    """
    target = Place.at(job.target)
    manifest = Manifest(target)
    if not (resume or force) and target.sizes():
        raise OutputError(f"{job.target}: is not empty; go on with --resume, or overwrite what is there with --force")
    progress = Progress()
    done: set[str] = set()
    if resume:
        done, failed = manifest.units()
        found = unrecorded(job, plan(job), done | failed)
        if len(found):
            manifest.add(found)
            done |= set(found["unit"].to_pylist())
        job = dataclasses.replace(job, again=True)
    elif force:
        manifest.clear()
    if means.gpus:
        job = dataclasses.replace(job, batch=ON_GPU, options=job.options | {"batch_size": ON_GPU})
    progress.kept = len(done)
    units = plan(job, done)
    sizes = {name: size for unit in units for name, size in ((unit.name, unit.bytes), *unit.files)}
    progress.bytes_total = sum(unit.bytes for unit in units)
    start = time.monotonic()
    try:
        with _cluster(means):
            for rows in _results(job, [unit.to_json() for unit in units], means):
                manifest.add(rows)
                progress.pictures += len(rows)
                good = rows.filter(pc.is_null(rows["error"]))
                progress.failed += len(rows) - len(good)
                progress.bytes_in += pc.sum(good["bytes_in"]).as_py() or 0
                progress.bytes_out += pc.sum(good["bytes_out"]).as_py() or 0
                progress.bytes_done += sum(sizes.get(name, 0) for name in set(rows["unit"].to_pylist()))
                progress.seconds = time.monotonic() - start
                watch(progress)
        target.sweep()
        return manifest.finish()
    finally:
        manifest.flush()


def _results(job: Job, units: list[str], means: Means) -> Iterator[pa.Table]:
    if not units:
        return
    concurrency = means.concurrency or _room(means)
    data: ray.data.Dataset = ray.data.from_items(
        [{"unit": unit} for unit in units], override_num_blocks=min(len(units), MOST_BLOCKS)
    )
    data = data.map_batches(
        Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(concurrency, len(units))),
        num_cpus=means.threads,
        num_gpus=means.gpus or None,
    )
    try:
        for batch in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield cast(pa.Table, batch).cast(SCHEMA)
    except RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise JndcodecError(f"Ray gave up: {lines[-1].strip() if lines else type(error).__name__}") from error


def _room(means: Means) -> int:
    """How many workers the cluster holds: by CPUs, memory and GPUs."""
    there = ray.cluster_resources()
    room = min(there.get("CPU", 1) // means.threads, there.get("memory", math.inf) // MEMORY_PER_JOB)
    return max(1, int(min(room, there.get("GPU", 0) // means.gpus) if means.gpus else room))


@contextmanager
def _cluster(means: Means) -> Iterator[None]:
    """Ray, joined or started; one that this process is already part of is used, and stays."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours counts pictures
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it warns that there are no progress bars
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of this process: no warnings about Ray Data's own actors
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if means.ray == LOCAL:
            cpus = max(cores(), (means.concurrency or 1) * means.threads)
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **options)
        else:
            ray.init(address=means.ray, **options)
    except Exception as error:  # Ray raises bare ones where a machine is too busy to start it
        raise JndcodecError(f"no Ray cluster at {means.ray}: {' '.join(str(error).split())}") from error
    try:
        yield
    finally:
        ray.shutdown()
