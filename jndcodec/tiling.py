"""Windows over a picture's rows and columns, with a halo, so that memory stays bounded on huge pictures.

A network applied to a window with a halo as wide as its receptive field gives inside the window what it gives on the
whole picture. Halos stop at the picture's edge, so the networks' zero padding stands in the same place either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


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
