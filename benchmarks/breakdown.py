"""Where the time of a warm encode and decode goes.

    python benchmarks/breakdown.py PICTURE [--threads 2] [--runs 9]

Puts clocks around the stages of the native model and codes a file as the command does, PNG in and PNG out, at the rate
of one JND. "rANS" includes the conversions between arrays and the lists that the coder takes. Medians over the runs.
"""

from __future__ import annotations

import io
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from jndcodec import Codec
from jndcodec.entropy.scale_network import ScaleNetwork
from jndcodec.entropy.symbols import Symbols
from jndcodec.images.loading import load_picture
from jndcodec.images.saving import write_image
from jndcodec.model.means import Means
from jndcodec.model.transforms import Transforms
from jndcodec.model.vbr import JlcVbr

PILLOW, RANS, REST = "Pillow (PNG)", "rANS and Python lists", "everything else"
STAGES = {
    (JlcVbr, "analyse"): "transforms",
    (JlcVbr, "hyper_analyse"): "transforms",
    (Transforms, "coefficients"): "transforms",
    (Transforms, "pixels"): "transforms",
    (JlcVbr, "predict"): "transforms",
    (JlcVbr, "detail"): "transforms",
    (JlcVbr, "undetail"): "transforms",
    (Means, "quantise"): "mean refinement",
    (Means, "reconstruct"): "mean refinement",
    (ScaleNetwork, "indexes_y"): "scale network",
    (Symbols, "pack"): RANS,
    (Symbols, "unpack_z"): RANS,
    (Symbols, "unpack_y"): RANS,
    (Symbols, "crc"): "checksum of the symbols",
}


class Clock:
    """Seconds per stage of the run under way. The stages do not contain each other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def measure(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work` with its time counted under `stage`."""

        def timed(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*args, **options)
            finally:
                self.seconds[stage] += time.perf_counter() - start

        return timed

    def install(self) -> None:
        for (owner, name), stage in STAGES.items():
            work = owner.__dict__[name]
            if isinstance(work, staticmethod):
                setattr(owner, name, staticmethod(self.measure(stage, work.__func__)))
            else:
                setattr(owner, name, self.measure(stage, work))

    def medians(self, work: Callable[[], object], runs: int) -> dict[str, float]:
        """Median seconds per stage, the rest included; the first run warms up."""
        tables = []
        for _ in range(runs + 1):
            self.seconds.clear()
            start = time.perf_counter()
            work()
            total = time.perf_counter() - start
            tables.append({**self.seconds, REST: total - sum(self.seconds.values())})
        return {stage: statistics.median(table[stage] for table in tables[1:]) for stage in tables[-1]}


@click.command()
@click.argument("picture", type=click.Path(exists=True, path_type=Path))
@click.option("--threads", default=2, show_default=True)
@click.option("--runs", default=9, show_default=True)
def main(picture: Path, threads: int, runs: int) -> None:
    """Print a table for encoding and one for decoding."""
    torch.set_num_threads(threads)
    codec, clock = Codec(engine="torch"), Clock()
    data = codec.encode(picture, lossless=False)

    def encode() -> None:
        codec.encode(clock.measure(PILLOW, load_picture)(picture, None))

    def decode() -> None:
        image = codec.decode(data)
        clock.measure(PILLOW, write_image)(image, io.BytesIO(), "PNG")

    clock.install()
    for name, work in (("encode", encode), ("decode", decode)):
        table = clock.medians(work, runs)
        total = sum(table.values())
        click.echo(f"{name}: {1000 * total:.0f} ms, {threads} threads, {len(data)} bytes")
        for stage, seconds in sorted(table.items(), key=lambda item: -item[1]):
            click.echo(f"  {stage:24} {1000 * seconds:7.1f} ms {100 * seconds / total:5.1f} %")
        codec_time = total - table[PILLOW]
        click.echo(f"  {RANS}, of the time without Pillow: {100 * table[RANS] / codec_time:.1f} %")


if __name__ == "__main__":
    main()
