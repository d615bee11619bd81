"""Warm encode and decode against CompressAI's mbt2018-mean (quality 4) and cheng2020-anchor (quality 3).

    python benchmarks/speed.py PICTURE [--threads 2] [--runs 9] [--processor-time]

One process, the same threads, a picture cropped to 768x512. Each side is timed from pixels in memory to streams and
back, entropy coding included. CompressAI's networks have random weights: the time does not depend on what they learned,
and their symbols are nearly all zero, which can only make them faster. Times are medians. On a machine that is busy
with other things, --processor-time with one thread gives ratios that these hardly disturb.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from jndcodec import Codec
from jndcodec.entropy.scale_network import T_MAX

WIDTH, HEIGHT = 768, 512
GOALS = {"mbt2018-mean, quality 4": 5, "cheng2020-anchor, quality 3": 100}


class Stopwatch:
    """Times work by a clock that counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock

    def median(self, work: Callable[[], object], runs: int) -> float:
        """Seconds of the middle run; the first one, which warms up, is not counted unless it is the only one."""
        times = []
        for _ in range(runs + (runs > 1)):
            start = self.clock()
            work()
            times.append(self.clock() - start)
        return statistics.median(times[1:] or times)


def time_ours(rgb: np.ndarray, precision: str, runs: int, watch: Stopwatch) -> tuple[float, float]:
    """(encode, decode) in seconds at the rate of one JND."""
    codec = Codec(precision=precision, engine="torch")
    t = round(codec.info.t_1jnd * T_MAX)
    coded = codec.model.compress(rgb, t, 0.0)
    encode = watch.median(lambda: codec.model.compress(rgb, t, 0.0), runs)
    streams = coded.z, coded.y, coded.symbols_crc
    return encode, watch.median(lambda: codec.model.decompress(*streams, t, rgb.shape[:2]), runs)


@torch.inference_mode()
def time_zoo(name: str, rgb: np.ndarray, runs: int, watch: Stopwatch) -> tuple[float, float]:
    """(encode, decode) in seconds; the autoregressive model is run once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from compressai import zoo
    make, quality = (zoo.mbt2018_mean, 4) if name.startswith("mbt") else (zoo.cheng2020_anchor, 3)
    net = make(quality, pretrained=False).eval()
    net.update(force=True)
    runs = runs if name.startswith("mbt") else 1
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    out = net.compress(x)
    encode = watch.median(lambda: net.compress(x), runs)
    return encode, watch.median(lambda: net.decompress(out["strings"], out["shape"]), runs)


@click.command()
@click.argument("picture", type=click.Path(exists=True, path_type=Path))
@click.option("--threads", default=2, show_default=True)
@click.option("--runs", default=9, show_default=True)
@click.option("--processor-time", is_flag=True, help="Instead of wall time.")
def main(picture: Path, threads: int, runs: int, processor_time: bool) -> None:
    """Print times and ratios."""
    watch = Stopwatch(time.process_time if processor_time else time.perf_counter)
    torch.set_num_threads(threads)
    rgb = np.asarray(Image.open(picture).convert("RGB"))[:HEIGHT, :WIDTH].copy()
    click.echo(f"{rgb.shape[1]} x {rgb.shape[0]}, {threads} threads, {'processor' if processor_time else 'wall'} time")
    click.echo(f"{'':28} {'encode':>9} {'decode':>9}")
    ours = time_ours(rgb, "auto", runs, watch)
    rows = {"jndcodec, precision auto": ours, "jndcodec, precision fp32": time_ours(rgb, "fp32", runs, watch)}
    for name in GOALS:
        rows[name] = time_zoo(name, rgb, runs, watch)
    for name, times in rows.items():
        click.echo(f"{name:28}" + "".join(f"{1000 * seconds:7.0f} ms" for seconds in times))
    for name, goal in GOALS.items():
        encode, decode = (theirs / own for theirs, own in zip(rows[name], ours, strict=True))
        click.echo(f"faster than {name}: encode {encode:.1f} times, decode {decode:.1f} times (goal {goal})")


if __name__ == "__main__":
    main()
