"""The grids of y and z over a picture: strides, sizes, windows, and who goes when in the context. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterator

from jndcodec.model.tiling import Span, spans

STRIDE_Y = 16
CELL = 4  # elements of y on a side of one of z
STRIDE_Z = STRIDE_Y * CELL
BLOCK = 768  # numbers in a 16x16 block of a picture
WINDOW = 128  # elements of y on a side of what the transforms read at once: 2048 pixels
# Of a picture that itself takes a gigabyte and more. They take a tenth longer for their halos, and half the memory.
NARROW_WINDOW, NARROW_ABOVE = 96, 1 << 18  # elements of y in a channel: 67 megapixels
STRIP = 32768  # elements of y per channel in what the hyper transforms and the context read at once
H_A_HALO, H_S_HALO = 2, 1  # receptive fields of h_a and h_s beyond an element of z, in elements of z
STEPS = 4
# CONTEXT_ORDER[step][channel quarter] is the position in the 2x2 cell (row * 2 + column) that is refined in that step.
CONTEXT_ORDER = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2))


def strips(rows: int, columns: int, halo: int) -> list[Span]:
    """Strips over the rows of z such that y (rows, columns) holds at most about STRIP elements of a channel in one."""
    return list(spans(math.ceil(rows / CELL), max(1, STRIP // (columns * CELL)), halo))


def window(rows: int, columns: int) -> int:
    """Side of the windows over a grid of y, at most."""
    return WINDOW if rows * columns <= NARROW_ABOVE else min(WINDOW, NARROW_WINDOW)


def latent_size(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of y for a picture."""
    return math.ceil(height / STRIDE_Y), math.ceil(width / STRIDE_Y)


def hyper_size(rows: int, columns: int) -> tuple[int, int]:
    """(rows, columns) of z for those of y."""
    return math.ceil(rows / CELL), math.ceil(columns / CELL)


def reaches(s8: int, s16: int) -> tuple[int, int]:
    """Halos of g_a and g_s with so many slim blocks at 1/8 and 1/16, in elements of y."""
    return math.ceil((s8 + 2) / 2) + s16, math.ceil((s8 + 1) / 2) + s16


def step_parts(step: int, channels: int) -> Iterator[tuple[slice, slice, slice]]:
    """Where in (h, w, C) the elements of one step stand, for each channel quarter."""
    for quarter, position in enumerate(CONTEXT_ORDER[step]):
        part = slice(quarter * channels // 4, (quarter + 1) * channels // 4)
        yield slice(position // 2, None, 2), slice(position % 2, None, 2), part
