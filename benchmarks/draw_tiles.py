"""Training tiles that are no photographs: flat colours, gradients, rendered text, charts, windows, pixel art.

    python benchmarks/draw_tiles.py FOLDER [--count 64] [--seed 1]

Drawn from the seed alone, 512 x 512, PNG. One tile in twenty of these beside photographs teaches a model that flat
white is white and what an edge of a letter is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 512
Colour = tuple[int, int, int]
EXTREMES: list[Colour] = [
    (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)
]  # fmt: skip
WORDS = "the quick brown fox jumps over a lazy dog while 0123456789 figures stand in (columns), rows & margins".split()


def colour(rng: np.random.Generator) -> Colour:
    """An extreme of the cube half of the time, else anything."""
    if rng.random() < 0.5:
        return EXTREMES[rng.integers(len(EXTREMES))]
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def flats(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Rectangles of one colour on a grid of random lines."""
    cuts = [[0, *sorted(rng.integers(0, SIDE, rng.integers(0, 4)).tolist()), SIDE] for _ in range(2)]
    for top, bottom in zip(cuts[0], cuts[0][1:], strict=False):
        for left, right in zip(cuts[1], cuts[1][1:], strict=False):
            draw.rectangle((left, top, right, bottom), colour(rng))


def gradient(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """From one colour to another along the rows."""
    ends = np.array([colour(rng), colour(rng)], float)
    for y in range(SIDE):
        red, green, blue = (ends[0] + (ends[1] - ends[0]) * y / SIDE).round().astype(int).tolist()
        draw.line((0, y, SIDE, y), (red, green, blue))


def text(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Lines of words, dark on light or the other way round."""
    paper, ink = ((255, 255, 255), (0, 0, 0)) if rng.random() < 0.6 else (colour(rng), colour(rng))
    draw.rectangle((0, 0, SIDE, SIDE), paper)
    y = 8
    while y < SIDE:
        size = int(rng.integers(10, 30))
        line = " ".join(rng.choice(WORDS, 14))
        draw.text((8, y), line, ink, font=ImageFont.load_default(size))
        y += int(size * 1.4)


def chart(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Axes, bars and a line."""
    draw.rectangle((0, 0, SIDE, SIDE), (255, 255, 255))
    values = rng.uniform(40, 440, 9)
    for i, value in enumerate(values):
        draw.rectangle((50 + 48 * i, 470 - value, 80 + 48 * i, 470), colour(rng))
        draw.text((52 + 48 * i, 476), str(int(value)), (60, 60, 60), font=ImageFont.load_default(12))
    points = [(65 + 48 * i, 470 - float(value)) for i, value in enumerate(rng.permutation(values))]
    draw.line(points, colour(rng), width=int(rng.integers(1, 5)))
    draw.line((40, 20, 40, 470, 500, 470), (0, 0, 0), width=2)


def window(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """A user interface: bar, panels, buttons, words."""
    light = rng.random() < 0.5
    draw.rectangle((0, 0, SIDE, SIDE), (245, 246, 248) if light else (30, 31, 36))
    draw.rectangle((0, 0, SIDE, 40), colour(rng))
    for _ in range(12):
        x, y = (int(v) for v in rng.integers(8, SIDE - 140, 2))
        draw.rounded_rectangle((x, y + 40, x + 130, y + 76), 8, colour(rng), outline=(128, 128, 128))
        draw.text((x + 10, y + 50), str(rng.choice(WORDS)), colour(rng), font=ImageFont.load_default(15))


def pixels(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Squares of a small palette."""
    cell, palette = int(rng.choice([4, 8, 16])), [colour(rng) for _ in range(6)]
    for y in range(0, SIDE, cell):
        for x in range(0, SIDE, cell):
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), palette[rng.integers(6)])


KINDS: list[Callable[[ImageDraw.ImageDraw, np.random.Generator], None]] = [
    flats, flats, gradient, text, chart, window, text, pixels
]  # fmt: skip


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=64, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(folder: Path, count: int, seed: int) -> None:
    """Draw the tiles into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        tile = Image.new("RGB", (SIDE, SIDE))
        KINDS[i % len(KINDS)](ImageDraw.Draw(tile), np.random.default_rng([seed, i]))
        tile.save(folder / f"drawn_{i:03}.png")
    click.echo(f"{count} tiles in {folder}")


if __name__ == "__main__":
    main()
