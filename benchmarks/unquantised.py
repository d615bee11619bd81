"""How much of a model's error is there before anything is quantised, and how much of it is a tint of the whole picture.

    python benchmarks/unquantised.py FOLDER --weights WEIGHTS [--images 6] [--threads 2]

Rates are the entropy model's, rounding is real, squared errors are means over pictures on the scale of 8 bits.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from jndcodec.evaluate.runner import find_sources
from jndcodec.model.build import load_model
from jndcodec.sampling import spread

SIDE = 64  # pictures are cropped to multiples of it


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--images", default=6, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(folder: Path, weights: Path, images: int, threads: int) -> None:
    """Print a line for each of five rate knobs."""
    torch.set_num_threads(threads)
    model, sources = load_model(weights), find_sources([folder])
    chosen = spread(sources, images)
    click.echo("| t | bpp | squared error | of it without quantisation | error of R, G, B |\n|---|---|---|---|---|")
    for knob in (0.0, 0.25, 0.5, 0.75, 1.0):
        sums = np.zeros(6)
        for source in chosen:
            rgb = np.asarray(Image.open(source.path).convert("RGB"))
            height, width = (length // SIDE * SIDE for length in rgb.shape[:2])
            x = torch.from_numpy(rgb[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255
            t = torch.tensor([knob])
            with torch.no_grad():
                out = model(x, t, hard=True)
                c = model.dct(x)
                gains = model.gains(t)
                predicted = model.predict(model.analyse(c, gains)[0], gains)
                detail = model.undetail(model.detail(c - predicted, gains), gains)
                unquantised = model.dct.inverse(predicted + detail)
            bpp = (out.bits_y + out.bits_z).item() / (height * width)
            errors = [255**2 * (y.clamp(0, 1) - x).square().mean().item() for y in (out.x_hat, unquantised)]
            tint = 255 * (out.x_hat - x).mean((0, 2, 3))
            sums += [bpp, *errors, *tint.tolist()]
        bpp, error, before, *tint = sums / len(chosen)
        shown = ", ".join(f"{value:+.2f}" for value in tint)
        click.echo(f"| {knob:g} | {bpp:.3f} | {error:.2f} | {before:.2f} | {shown} |")


if __name__ == "__main__":
    main()
