"""Windows over a picture's rows and columns, with a halo, so that memory stays bounded on huge pictures.

A network applied to a window with a halo as wide as its receptive field gives inside the window what it gives on the
whole picture. Halos stop at the picture's edge, so the networks' zero padding stands in the same place either way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Span:
    """`start:stop` is what a window answers for, `low:high` what it reads."""

    start: int
    stop: int
    low: int
    high: int

    @property
    def inner(self) -> slice:
        """Where the answer stands in what was read."""
        return slice(self.start - self.low, self.stop - self.low)

    @property
    def outer(self) -> slice:
        return slice(self.low, self.high)

    @property
    def target(self) -> slice:
        return slice(self.start, self.stop)

    def scaled(self, factor: int) -> Span:
        """The same window on a grid `factor` times as fine."""
        return Span(self.start * factor, self.stop * factor, self.low * factor, self.high * factor)


def spans(total: int, size: int, halo: int) -> Iterator[Span]:
    """Cut `total` into windows of `size` (the last one smaller), each reading up to `halo` more on both sides."""
    for start in range(0, total, size):
        stop = min(start + size, total)
        yield Span(start, stop, max(0, start - halo), min(total, stop + halo))


def even(total: int, limit: int, unit: int = 1) -> int:
    """Size of windows not over `limit` that cut `total` most evenly, in whole multiples of `unit`."""
    count = math.ceil(total / limit)
    return math.ceil(total / count / unit) * unit


def windows(rows: int, columns: int, limit: int, halo: int, unit: int = 1) -> list[tuple[Span, Span]]:
    """(row, column) spans of even windows over a grid, row by row, none over `limit` on a side but for its halo."""
    return [
        (row, column)
        for row in spans(rows, even(rows, limit, unit), halo)
        for column in spans(columns, even(columns, limit, unit), halo)
    ]


def read_padded(rgb: np.ndarray, row: Span, column: Span) -> np.ndarray:
    """What a window of a picture (H, W, C) reads; beyond the bottom and right edges, the edge repeated."""
    part = rgb[row.low : row.high, column.low : column.high]
    missing = [(0, row.high - row.low - part.shape[0]), (0, column.high - column.low - part.shape[1]), (0, 0)]
    return np.pad(part, missing, mode="edge") if missing[0][1] or missing[1][1] else part.copy()
