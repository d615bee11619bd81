"""Fit what decides real bits on pictures that a weights file is not judged by: the steps of its detail, and its
probability tables.

    python benchmarks/tune_coding.py WEIGHTS TILES... [--out FILE] [--images 12] [--crop 256] [--threads 2]

TILES as `jndcodec train` takes them; held-out photographs are left out. Takes some minutes. Dead zones come before
(benchmarks/tune_effort.py), the one-JND rate after (benchmarks/calibrate.py). The model's id changes: these are other
weights.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from jndcodec.effort.counting import middle
from jndcodec.model.build import load_model
from jndcodec.model.native import NativeModel
from jndcodec.sampling import spread
from jndcodec.train.data import open_dataset
from jndcodec.train.detail_steps import tune_detail
from jndcodec.train.finish import export_fitted
from jndcodec.weights import read_info


@click.command()
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("tiles", nargs=-1, required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Not over WEIGHTS, but here.")
@click.option("--images", default=12, show_default=True)
@click.option("--crop", default=256, show_default=True, help="The middle CROP x CROP pixels of each.")
@click.option("--threads", default=2, show_default=True)
def main(weights: Path, tiles: tuple[str, ...], out: Path | None, images: int, crop: int, threads: int) -> None:
    """Print what each rate anchor gains."""
    torch.set_num_threads(threads)
    info, model = read_info(weights), load_model(weights)
    pictures = open_dataset(tiles, False).train.pictures
    large = [picture for picture in pictures if min(picture.shape[:2]) >= crop]
    tune_detail(NativeModel(info, "cpu"), model, [middle(p, crop) for p in spread(large, images)], click.echo)
    about = {"name": info.name, "loss": info.loss, "calibration": info.calibration, "record": info.record}
    click.echo(f"model {export_fitted(model, out or weights, pictures, **about).id}, was {info.id}")


if __name__ == "__main__":
    main()
