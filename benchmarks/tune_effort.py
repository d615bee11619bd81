"""Tune the dead zones of a weights file on pictures that are not those it is judged by, and store them in it.

    python benchmarks/tune_effort.py WEIGHTS FOLDER [--images 6] [--crop 320] [--threads 2] [--dry-run]

Takes about two minutes. The model's id stays: files made before and after decode with either.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from jndcodec import Codec
from jndcodec.effort.counting import middle
from jndcodec.effort.tuning import store, tune
from jndcodec.images.suffixes import PICTURE_SUFFIXES
from jndcodec.sampling import spread


@click.command()
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--images", default=6, show_default=True)
@click.option("--crop", default=320, show_default=True, help="The middle CROP x CROP pixels of each.")
@click.option("--threads", default=2, show_default=True)
@click.option("--dry-run", is_flag=True, help="Print, but leave the file alone.")
def main(weights: Path, folder: Path, images: int, crop: int, threads: int, dry_run: bool) -> None:
    """Print the gain of each step."""
    torch.set_num_threads(threads)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    pictures = [middle(np.asarray(Image.open(path).convert("RGB")), crop) for path in spread(paths, images)]
    zones, gain = tune(Codec(weights=weights, engine="torch").model, pictures, click.echo)
    click.echo(f"dead zones: {' '.join(f'{v:.3f}' for v in zones[:24])} …; bits at equal quality {gain:+.2%}")
    if not dry_run:
        store(weights, zones)


if __name__ == "__main__":
    main()
