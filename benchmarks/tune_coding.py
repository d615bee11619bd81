"""Fit what decides real bits on pictures that a weights file is not judged by: the steps of its detail, and its
probability tables.

    python benchmarks/tune_coding.py WEIGHTS TILES [--out FILE] [--threads 2]

TILES as `jndcodec train` takes them, which does the same at its end; held-out photographs are left out. Takes some
minutes. Dead zones come before (benchmarks/tune_effort.py), the one-JND rate after (benchmarks/calibrate.py). The
model's id changes: these are other weights.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from jndcodec.model.build import load_model
from jndcodec.train.data import open_dataset
from jndcodec.train.finish import export_tuned
from jndcodec.weights import read_info


@click.command()
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("tiles")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Not over WEIGHTS, but here.")
@click.option("--threads", default=2, show_default=True)
def main(weights: Path, tiles: str, out: Path | None, threads: int) -> None:
    """Print what each rate anchor gains."""
    torch.set_num_threads(threads)
    info = read_info(weights)
    pictures = open_dataset(tiles, False).typical
    about = {"name": info.name, "loss": info.loss, "calibration": info.calibration, "record": info.record}
    tuned = export_tuned(load_model(weights), out or weights, pictures, click.echo, **about)
    click.echo(f"model {tuned.id}, was {info.id}")


if __name__ == "__main__":
    main()
