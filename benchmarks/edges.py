"""Whether a picture's right and bottom edges come out as well as its inside, for every side.

    python benchmarks/edges.py PHOTOS [--sides 1-200,720,1080] [--quality 40] [--crops 12]

For each side, strips of photographs of that width, and of that height, are coded alone and inside of a longer strip. A
ratio is the RMS error of the last four columns (rows) coded alone over that of the same pixels further inside: what is
natural to those pixels stands in both. Prints each ratio over the bar, and the largest.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image

from jndcodec.codec import Codec

BAR = 1.25
OUTER = 4  # rows or columns
ACROSS = 96  # pixels of a strip on its other side
BEYOND = 160  # pixels by which the longer strip goes on
GRID = 16  # strips begin on the codec's grid, so that only the edge differs


def strips(photos: list[np.ndarray], length: int, count: int, seed: int) -> list[np.ndarray]:
    """`count` strips (ACROSS, length, 3), cut from several photos in a row where one is too short."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        parts, missing = [], length
        while missing > 0:
            photo = photos[rng.integers(len(photos))]
            top = rng.integers((photo.shape[0] - ACROSS) // GRID + 1) * GRID
            left = rng.integers(max(0, photo.shape[1] - missing) // GRID + 1) * GRID
            parts.append(photo[top : top + ACROSS, left : left + missing])
            missing -= parts[-1].shape[1]
        found.append(np.concatenate(parts, 1))
    return found


def squared_error(codec: Codec, strip: np.ndarray, quality: float, turned: bool) -> np.ndarray:
    """Of a strip; `turned`: coded with rows and columns exchanged."""
    rgb = np.ascontiguousarray(strip.swapaxes(0, 1)) if turned else strip
    decoded = np.asarray(codec.decode(codec.encode(Image.fromarray(rgb), quality=quality, lossless=False)), float)
    error = np.square(decoded - rgb)
    return error.swapaxes(0, 1) if turned else error


def ratio(codec: Codec, photos: list[np.ndarray], side: int, count: int, quality: float, turned: bool) -> float:
    """Of the right edge; of the bottom edge where the strips are `turned`."""
    at_edge = slice(max(0, side - OUTER), side)
    alone = inside = 0.0
    for strip in strips(photos, side + BEYOND, count, seed=side):
        alone += squared_error(codec, np.ascontiguousarray(strip[:, :side]), quality, turned)[:, at_edge].sum()
        inside += squared_error(codec, strip, quality, turned)[:, at_edge].sum()
    return float(np.sqrt(alone / inside))


def parse_sides(text: str) -> list[int]:
    """ "1-3,720" -> [1, 2, 3, 720]."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


@click.command(help=__doc__)
@click.argument("photos", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--sides", default="1-200,720,1080,1440,2160,3000,4000", show_default=True)
@click.option("--quality", type=float, default=40.0, show_default=True)
@click.option("--crops", type=click.IntRange(1), default=12, show_default=True, help="Strips for each side and edge.")
def main(photos: Path, sides: str, quality: float, crops: int) -> None:
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(photos.iterdir())]
    codec = Codec(threads=1)
    ratios: dict[tuple[int, str], float] = {}
    for side in parse_sides(sides):
        count = crops if side <= 200 else max(2, crops // 3)
        for edge in ("right", "bottom"):
            found = ratios[side, edge] = ratio(codec, pictures, side, count, quality, edge == "bottom")
            if found > BAR:
                click.echo(f"side {side}, {edge}: {found:.3f}")
    (side, edge), largest = max(ratios.items(), key=lambda item: item[1])
    over = sum(value > BAR for value in ratios.values())
    click.echo(
        f"{len(ratios)} edges, {over} over {BAR}; mean {np.mean(list(ratios.values())):.3f}, largest {largest:.3f} "
        f"(side {side}, {edge})"
    )


if __name__ == "__main__":
    main()
