"""The options of whatever encodes: what is aimed at, with which model, how hard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from jndcodec.cli.options import POSITIVE, Count, Number, stack, weights_option

encoder_options = stack(
    click.option(
        "--jnd",
        type=POSITIVE,
        help="Distance from the original in JND, measured on this picture; 1: half of the people see a difference.",
    ),
    click.option("-q", "--quality", type=Number(0, 100), help="The model's rate knob: 0 smallest, 100 best."),
    click.option("--bpp", type=POSITIVE, help="At most this many bits per pixel."),
    click.option("--size", type=Count("bytes"), help="At most this many bytes, such as 50000, 120k or 1.5M."),
    click.option(
        "--lossless/--lossy",
        default=None,
        help="Keep every pixel, or never.  [default: where that takes fewer bytes, as of text and drawings]",
    ),
    click.option("--model", metavar="NAME", help="An installed model (see `jndcodec models`).  [default: the first]"),
    weights_option,
    click.option(
        "-e",
        "--effort",
        type=click.IntRange(1, 9),
        default=3,
        show_default=True,
        help="More time, smaller files: 1 rounds, 3 drops what costs more than it brings (6 % smaller, same "
        "time), 5 and 9 fit each picture (10 % in 28, 11 % in 100 times the time).",
    ),
    click.option("--strip", is_flag=True, help="Leave out EXIF and XMP; the colours stay as they are."),
    click.option("--keep-hidden", is_flag=True, help="Keep the colours under alpha 0, which nobody sees."),
    click.option("--verify", is_flag=True, help="Decode each file and check it before it is written."),
)


def check_encoder_options(model: str | None, weights: Path | None, options: dict[str, Any]) -> None:
    """click.UsageError where they contradict each other."""
    targets = [name for name in ("jnd", "quality", "bpp", "size") if options[name] is not None]
    if len(targets) > 1:
        raise click.UsageError(f"--{targets[0]} and --{targets[1]} are both targets: give one.")
    if targets and options["lossless"]:
        raise click.UsageError(f"--lossless keeps every pixel: leave out --{targets[0]}.")
    if model and weights:
        raise click.UsageError("--model and --weights both choose the model: give one.")
