"""Cutting photos into tiles worth training on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

BLOCKS = 7  # a tile is judged in 7 x 7 blocks
FLAT = 2.0  # mean gradient of a flat block, of 255
FLAT_SHARE = 0.75  # of the blocks, in a flat tile
FLAT_TILE = 2.5  # mean gradient below which the whole tile is flat
UNIFORM = 0.3  # mean gradient below which there is nothing in it
KEEP_FLAT = 0.25  # probability of keeping a flat tile, at most one a photo


@dataclass(frozen=True)
class Tile:
    """uint8 (H, W, 3) and the place of its top-left corner in the reduced photo."""

    rgb: np.ndarray
    x: int
    y: int


def reduced(image: Image.Image, factor: float) -> Image.Image:
    """Smaller by `factor`, by Lanczos on the stored values: what a JPEG did to the photo vanishes at 2 and more."""
    if factor == 1:
        return image
    size = (max(1, round(image.width / factor)), max(1, round(image.height / factor)))
    return image.resize(size, Image.Resampling.LANCZOS)


def cut(rgb: np.ndarray, side: int, most: int, rng: np.random.Generator) -> list[Tile]:
    """Up to `most` tiles of side x side that don't overlap, on a grid with a random offset, in random order."""
    h, w = rgb.shape[:2]
    y0, x0 = (int(rng.integers(n % side + 1)) if n >= side else 0 for n in (h, w))
    corners = [(y, x) for y in range(y0, h - side + 1, side) for x in range(x0, w - side + 1, side)]
    tiles: list[Tile] = []
    flat = False
    for i in rng.permutation(len(corners)):
        y, x = corners[i]
        part = rgb[y : y + side, x : x + side]
        kind = flatness(part)
        if kind == "uniform" or (kind == "flat" and (flat or rng.random() >= KEEP_FLAT)):
            continue
        flat |= kind == "flat"
        tiles.append(Tile(np.ascontiguousarray(part), x, y))
        if len(tiles) == most:
            break
    return tiles


def flatness(rgb: np.ndarray) -> str:
    """ "uniform", "flat" or "busy", by the mean absolute gradient of the green channel in blocks."""
    green = rgb[..., 1].astype(np.float32)
    gradient = np.abs(np.diff(green, axis=0))[:, :-1] + np.abs(np.diff(green, axis=1))[:-1]
    mean = gradient.mean()
    if mean < UNIFORM:
        return "uniform"
    blocks = [b.mean() for rows in np.array_split(gradient, BLOCKS) for b in np.array_split(rows, BLOCKS, axis=1)]
    return "flat" if mean < FLAT_TILE or np.mean(np.array(blocks) < FLAT) >= FLAT_SHARE else "busy"
