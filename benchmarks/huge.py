"""Time and memory of a huge picture: encode and decode in processes of their own.

    python benchmarks/huge.py PICTURE [--megapixels 100] [--threads 2] [--engine onnx]

PICTURE is repeated, flipped and cropped to the size. Resident memory is the most that the process ever held
(ru_maxrss), with torch where it is used, the weights, the picture itself (3 bytes a pixel) and Pillow's PNG included.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from PIL import Image

STEP = """
import resource, sys
from jndcodec.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def make_picture(source: Path, megapixels: float, target: Path) -> tuple[int, int]:
    """Write a 3:2 picture of that size as PNG: copies of the source, each second one mirrored. Returns its size."""
    tile = np.asarray(Image.open(source).convert("RGB"))
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(1.5 * height)
    tile = np.concatenate([tile, tile[:, ::-1]], 1)
    tile = np.concatenate([tile, tile[::-1]], 0)
    repeats = -(-height // tile.shape[0]), -(-width // tile.shape[1]), 1
    Image.fromarray(np.tile(tile, repeats)[:height, :width]).save(target, compress_level=1)
    return width, height


def run(arguments: list[str]) -> tuple[float, float]:
    """(seconds, GB resident) of one command."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", STEP, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(done.stderr)
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, int(done.stderr.split()[-1]) * unit / 1e9


@click.command()
@click.argument("picture", type=click.Path(exists=True, path_type=Path))
@click.option("--megapixels", default=100.0, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--engine", default="auto", show_default=True)
def main(picture: Path, megapixels: float, threads: int, engine: str) -> None:
    """Print seconds and gigabytes."""
    with tempfile.TemporaryDirectory() as folder:
        source, coded, decoded = (f"{folder}/{name}" for name in ("in.png", "out.jlc", "out.png"))
        width, height = make_picture(picture, megapixels, Path(source))
        click.echo(f"{width} x {height}, {threads} threads, engine {engine}")
        # a picture made of copies of one is cheaper lossless: the model is asked for
        for name, options in (("encode", [source, "-o", coded, "--lossy"]), ("decode", [coded, "-o", decoded])):
            seconds, gigabytes = run([name, *options, "--threads", str(threads), "--engine", engine])
            click.echo(f"{name}: {seconds:.0f} s, {gigabytes:.2f} GB resident (goal 3)")
        click.echo(f"{8 * Path(coded).stat().st_size / (width * height):.3f} bpp")


if __name__ == "__main__":
    main()
