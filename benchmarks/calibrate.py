"""How far from the original the default rate of a model is, over pictures; with --write the rate is set anew.

    python benchmarks/calibrate.py WEIGHTS PICTURES... [--write]

WEIGHTS: a file, or the name of an installed model. PICTURES: files or folders. Prints the mean JND and the share of
the pictures over 1.1 JND; `train/calibrate.py` says what is asked of them.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from jndcodec.codec import Codec
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.evaluate.runner import find_sources, load_rgb
from jndcodec.installed import find_by_name
from jndcodec.train.calibrate import OVER, calibrate, jnd_at
from jndcodec.weights import read_info


@click.command()
@click.argument("weights")
@click.argument("pictures", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--write", is_flag=True, help="Calibrate on these pictures, and write it into the file.")
def main(weights: str, pictures: tuple[Path, ...], write: bool) -> None:
    """Print, and perhaps write."""
    info = read_info(weights) if Path(weights).exists() else find_by_name(weights)
    sources = find_sources(pictures)
    rgb = [load_rgb(source.path) for source in sources]
    if write:
        info = calibrate(info.path, rgb)
    found = jnd_at(Codec(weights=info.path), rgb, round(info.t_1jnd * T_MAX))
    for source, jnd in zip(sources, found, strict=True):
        click.echo(f"{jnd:6.2f} JND  {source.name}")
    over = np.count_nonzero(found > OVER)
    click.echo(
        f"{info.name} at quality {100 * info.t_1jnd:.1f}: mean {found.mean():.3f} JND, "
        f"{over} of {len(found)} pictures over {OVER}"
    )


if __name__ == "__main__":
    main()
