"""Many pictures: worker processes, Ray's overhead, and how the stages of batches overlap.

    python benchmarks/bulk.py PHOTO [--pictures 200] [--part jobs|ray|batches ...]

PHOTO is cut to 768x512 where it is larger, and coded under as many names; all with one thread a worker. For each run:
wall seconds, and processor seconds of all its processes (wall counts on an idle machine alone). "scales" is what two
workers are to one: in wall time, and what idle cores would give by the processor time.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from PIL import Image

PR_SET_CHILD_SUBREAPER = 36  # grandchildren, such as the server that workers are copied from, are waited for too


def timed(*arguments: object) -> tuple[float, float]:
    """(wall seconds, processor seconds of every process) of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "jndcodec", *map(str, arguments)], check=True, capture_output=True)
    wall = time.perf_counter() - start
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(name: str, times: tuple[float, float], pictures: int) -> None:
    wall, busy = times
    print(f"{name:34} {wall:7.1f} s  {pictures / wall:6.2f} pictures/s  processor {busy:7.1f} s")


def jobs(folder: Path, out: Path, pictures: int) -> None:
    """--jobs 1 and 2, there and back, in turns."""
    total: dict[int, list[float]] = {1: [0, 0], 2: [0, 0]}
    for direction, source in (("encode", folder), ("decode", out / "encode1")):
        for count in (1, 2):
            target = out / f"{direction}{count}"
            times = timed(direction, source, "-o", target, "--jobs", count, "--threads", 1)
            show(f"{direction} --jobs {count} --threads 1", times, pictures)
            total[count] = [a + b for a, b in zip(total[count], times, strict=True)]
    wall, busy = (total[1][i] / total[2][i] for i in range(2))
    print(f"both directions: scales {wall:.2f} in wall time, {2 * busy:.2f} by processor time")


def on_ray(folder: Path, out: Path, pictures: int) -> None:
    """`jndcodec bulk` against the plain loop; a picture's seconds are those in the manifest."""
    import pyarrow.parquet as pq

    from jndcodec.codec import Codec

    codec = Codec(threads=1)
    paths = sorted(folder.iterdir())
    codec.encode(paths[0])
    start, busy = time.perf_counter(), time.process_time()
    for path in paths:
        (out / "one.jlc").write_bytes(codec.encode(path))
    show("plain loop in Python, warm", (time.perf_counter() - start, time.process_time() - busy), pictures)
    for count in (1, 2):
        target = out / f"bulk{count}"
        times = timed("bulk", "encode", folder, "--out", target, "--concurrency", count)
        show(f"bulk encode --concurrency {count}", times, pictures)
        seconds = sum(pq.read_table(target / "_manifest.parquet")["seconds"].to_pylist())
        print(f"{'':34} of which in pictures {seconds:.1f} s, over all workers")


def overlap(folder: Path, pictures: int) -> None:
    """The share of each stage of encode_batch and decode_batch in processor time, and how many run at a time."""
    from jndcodec import batches
    from jndcodec.codec import Codec
    from jndcodec.model.batch import BatchCoder
    from jndcodec.model.native import NativeModel

    spent: dict[str, float] = defaultdict(float)
    lock = threading.Lock()

    def watch(owner: Any, name: str, stage: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def measured(*arguments: Any, **options: Any) -> Any:
            start = time.thread_time()
            result = inner(*arguments, **options)
            with lock:
                spent[stage] += time.thread_time() - start
            return result

        setattr(owner, name, measured)

    watch(batches, "load", "reading")
    watch(BatchCoder, "compress", "transforms")
    watch(BatchCoder, "decompress", "transforms")
    watch(NativeModel, "pack", "rANS")
    watch(NativeModel, "unpack_checked", "scale network and rANS")
    watch(NativeModel, "indexes", "scale network")
    codec = Codec(threads=1)
    paths = sorted(folder.iterdir())
    files: list[Any] = []
    for name, run in (
        ("encode_batch", lambda: files.extend(codec.encode_batch(paths, batch_size=4, lossless=False))),
        ("decode_batch", lambda: [None for _ in codec.decode_batch(files, batch_size=4)]),
    ):
        spent.clear()
        start, busy = time.perf_counter(), time.process_time()
        run()
        wall, busy = time.perf_counter() - start, time.process_time() - busy
        shares = ", ".join(f"{stage} {100 * seconds / busy:.0f} %" for stage, seconds in sorted(spent.items()))
        print(f"{name}: {pictures / wall:.2f} pictures/s, {busy / wall:.2f} threads busy at a time; {shares}")


@click.command()
@click.argument("photo", type=click.Path(exists=True, path_type=Path))
@click.option("--pictures", type=click.IntRange(2), default=200, show_default=True)
@click.option("--part", "parts", multiple=True, type=click.Choice(["jobs", "ray", "batches"]))
def main(photo: Path, pictures: int, parts: tuple[str, ...]) -> None:
    """Print times and ratios."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name, "in"), Path(name, "out")
        folder.mkdir()
        out.mkdir()
        with Image.open(photo) as image:
            image.convert("RGB").crop((0, 0, min(768, image.width), min(512, image.height))).save(folder / "00000.png")
        for i in range(1, pictures):
            os.link(folder / "00000.png", folder / f"{i:05}.png")
        for part in parts or ("jobs", "ray", "batches"):
            {
                "jobs": lambda: jobs(folder, out, pictures),
                "ray": lambda: on_ray(folder, out, pictures),
                "batches": lambda: overlap(folder, pictures),
            }[part]()


if __name__ == "__main__":
    main()
