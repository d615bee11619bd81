"""Many pictures: worker processes, Ray's overhead, and how the stages of batches overlap.

    python benchmarks/bulk.py PHOTO... [--pictures 200] [--part jobs|ray|batches ...]

The PHOTOs are cut to 768x512 where they are larger, and coded in turns under as many names; all with one thread a
worker. For each run: wall seconds, processor seconds of all its processes, and how many cores other programs had
meanwhile, without which wall seconds say nothing: they count on an idle machine alone. "scales" is what two workers are
to one: in wall time, and what idle cores would give by the processor time.
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
from typing import Any, NamedTuple

import click
from PIL import Image

PR_SET_CHILD_SUBREAPER = 36  # grandchildren, such as the server that workers are copied from, are waited for too


class Times(NamedTuple):
    """Seconds on the clock, processor seconds of every process, and the cores that other programs had on average."""

    wall: float
    busy: float
    others: float

    def and_then(self, more: Times) -> Times:
        wall = self.wall + more.wall
        return Times(wall, self.busy + more.busy, (self.others * self.wall + more.others * more.wall) / wall)


def machine() -> float:
    """Processor seconds of everything on this machine since it started, a hypervisor's other guests included."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def timed(*arguments: object) -> Times:
    """A command's."""
    before, start, all_before = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), machine()
    subprocess.run([sys.executable, "-m", "jndcodec", *map(str, arguments)], check=True, capture_output=True)
    wall = time.perf_counter() - start
    every = machine() - all_before
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Times(wall, busy, max(0, every - busy) / wall)


def show(name: str, times: Times, pictures: int) -> None:
    rate = f"{pictures / times.wall:6.2f} pictures/s"
    others = f"others had {times.others:.2f} cores"
    print(f"{name:34} {times.wall:7.1f} s  {rate}  processor {times.busy:7.1f} s  {others}", flush=True)


def jobs(folder: Path, out: Path, pictures: int) -> None:
    """--jobs 1 and 2, there and back, in turns."""
    total: dict[int, Times] = {}
    for direction, source in (("encode", folder), ("decode", out / "encode1")):
        for count in (1, 2):
            target = out / f"{direction}{count}"
            times = timed(direction, source, "-o", target, "--jobs", count, "--threads", 1)
            show(f"{direction} --jobs {count} --threads 1", times, pictures)
            total[count] = total[count].and_then(times) if count in total else times
    wall, busy = total[1].wall / total[2].wall, total[1].busy / total[2].busy
    print(f"both directions: scales {wall:.2f} in wall time, {2 * busy:.2f} by processor time")


def on_ray(folder: Path, out: Path, pictures: int) -> None:
    """`jndcodec bulk` against the plain loop; a picture's seconds are those in the manifest."""
    import pyarrow.parquet as pq

    from jndcodec.codec import Codec
    from jndcodec.model.choice import PICTURES, engine_for

    codec = Codec(threads=1, engine=engine_for("auto", "auto", pictures=PICTURES))  # bulk's own
    paths = sorted(folder.iterdir())
    codec.encode(paths[0])
    start, busy, every = time.perf_counter(), time.process_time(), machine()
    for path in paths:
        (out / "one.jlc").write_bytes(codec.encode(path))
    wall, busy = time.perf_counter() - start, time.process_time() - busy
    show("plain loop in Python, warm", Times(wall, busy, (machine() - every - busy) / wall), pictures)
    few = out / "few"
    few.mkdir()
    os.link(paths[0], few / "a.png")
    start_of_it = timed("bulk", "encode", few, "--out", out / "bulk0", "--concurrency", 1)
    show("bulk encode of one picture", start_of_it, 1)
    for count in (1, 2):
        target = out / f"bulk{count}"
        times = timed("bulk", "encode", folder, "--out", target, "--concurrency", count)
        show(f"bulk encode --concurrency {count}", times, pictures)
        seconds = sum(pq.read_table(target / "_manifest.parquet")["seconds"].to_pylist())
        print(f"{'':34} of which in pictures {seconds:.1f} s, over all workers")
        more = (times.busy - start_of_it.busy) / (pictures - 1) / (busy / pictures) - 1
        print(f"{'':34} overhead by processor time {times.busy / busy - 1:+.0%}, without the start {more:+.0%}")


def overlap(folder: Path, pictures: int) -> None:
    """The share of each stage of encode_batch and decode_batch in processor time, and how many run at a time."""
    from jndcodec import batches
    from jndcodec.codec import Codec
    from jndcodec.model.batch import BatchCoder
    from jndcodec.model.exact_torch import DeviceIndexes
    from jndcodec.model.native import NativeModel

    spent: dict[str, float] = defaultdict(float)
    lock, inside = threading.Lock(), threading.local()

    def watch(owner: Any, name: str, stage: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def measured(*arguments: Any, **options: Any) -> Any:
            outer, inside.spent = getattr(inside, "spent", 0.0), 0.0
            start = time.thread_time()
            result = inner(*arguments, **options)
            took = time.thread_time() - start
            with lock:
                spent[stage] += took - inside.spent  # a stage within one counts once
            inside.spent = outer + took
            return result

        setattr(owner, name, measured)

    watch(batches, "load", "reading")
    watch(BatchCoder, "compress", "copies")
    watch(BatchCoder, "decompress", "copies")
    watch(BatchCoder, "choose_symbols", "transforms")
    watch(BatchCoder, "make_pixels", "transforms")
    watch(DeviceIndexes, "__call__", "scale network")
    watch(NativeModel, "pack", "rANS")
    watch(NativeModel, "unpack_checked", "rANS")
    watch(NativeModel, "indexes", "scale network")
    codec = Codec(threads=1, engine="torch")
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
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pictures", type=click.IntRange(2), default=200, show_default=True)
@click.option("--part", "parts", multiple=True, type=click.Choice(["jobs", "ray", "batches"]))
def main(photos: tuple[Path, ...], pictures: int, parts: tuple[str, ...]) -> None:
    """Print times and ratios."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name, "in"), Path(name, "out")
        folder.mkdir()
        out.mkdir()
        for i, photo in enumerate(photos[:pictures]):
            with Image.open(photo) as image:
                part = image.convert("RGB").crop((0, 0, min(768, image.width), min(512, image.height)))
                part.save(folder / f"{i:05}.png")
        for i in range(len(photos), pictures):
            os.link(folder / f"{i % len(photos):05}.png", folder / f"{i:05}.png")
        for part in parts or ("jobs", "ray", "batches"):
            {
                "jobs": lambda: jobs(folder, out, pictures),
                "ray": lambda: on_ray(folder, out, pictures),
                "batches": lambda: overlap(folder, pictures),
            }[part]()


if __name__ == "__main__":
    main()
