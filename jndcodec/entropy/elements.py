"""Symbols and table indexes of a whole picture, (h, w, C): y's channels, then those of detail.

At usual rates one element of detail in a hundred is coded, yet detail has twice the channels of y. So huge pictures
keep it deflated, a row of a window at a time: it then takes what it says, and never more than the plain array.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

PLAIN = 1 << 26  # elements up to which they lie in a plain array; some 15 megapixels
LEVEL = 1  # of zlib: zeros for the most part


class Deflated:
    """An array whose channels from `m` on are deflated. Zeros at first.

    Read and written by slices as an array is, of either part of the channels or of all. What is read of the first part
    is a view, which can be written to; what is read of the second is a copy.
    """

    def __init__(self, shape: tuple[int, int, int], m: int, dtype: npt.DTypeLike, width: int) -> None:
        """width: columns that are deflated together, best those that are read and written together."""
        self.shape, self.width = shape, width
        self.main = np.zeros((*shape[:2], m), dtype)
        self._packed: dict[tuple[int, int], bytes] = {}  # by row and first column; none where all is zero
        self._depth = shape[2] - m  # channels in each

    def first(self, channels: int) -> Deflated:
        """The same elements, but for the last channels."""
        other = Deflated.__new__(Deflated)
        other.__dict__ = {**self.__dict__, "shape": (*self.shape[:2], channels)}
        return other

    def __getitem__(self, key: Any) -> np.ndarray:
        rows, columns, channels = self._slices(key)
        m = self.main.shape[2]
        if channels.stop <= m:
            return self.main[rows, columns, channels]
        at = [range(*part.indices(length)) for part, length in zip((rows, columns), self.shape, strict=False)]
        detail = np.zeros((len(at[0]), len(at[1]), self._depth), self.main.dtype)
        for i, row in enumerate(at[0]):
            for start, inside, target in self._pieces(at[1]):
                if (row, start) in self._packed:
                    detail[i, target] = self._piece(row, start)[inside]
        found = detail[..., max(0, channels.start - m) : channels.stop - m]
        if channels.start >= m:
            return found
        return np.concatenate([self.main[rows, columns, channels.start :], found], 2)

    def __setitem__(self, key: Any, values: np.ndarray) -> None:
        rows, columns, channels = self._slices(key)
        m = self.main.shape[2]
        of_main = max(0, m - channels.start)
        self.main[rows, columns, channels] = values[..., :of_main]
        if channels.stop <= m:
            return
        at = [range(*part.indices(length)) for part, length in zip((rows, columns), self.shape, strict=False)]
        written = slice(max(0, channels.start - m), channels.stop - m)
        for i, row in enumerate(at[0]):
            for start, inside, target in self._pieces(at[1]):
                piece = self._piece(row, start)
                piece[inside, written] = values[i, target, of_main:]
                self._packed.pop((row, start), None)
                if piece.any():
                    self._packed[row, start] = zlib.compress(piece.data, LEVEL)

    def __array__(self, dtype: npt.DTypeLike = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.main.dtype, copy=False)

    def _slices(self, key: Any) -> tuple[slice, slice, slice]:
        """Rows, columns and channels of an index; those of the channels have a start and a stop."""
        given = list(key) if isinstance(key, tuple) else [key]
        if given[0] is Ellipsis:
            given = [slice(None)] * (4 - len(given)) + given[1:]
        given += [slice(None)] * (3 - len(given))
        start, stop, _ = given[2].indices(self.shape[2])
        return given[0], given[1], slice(start, stop)

    def _piece(self, row: int, start: int) -> np.ndarray:
        """(columns, channels) of what is deflated together."""
        shape = min(self.width, self.shape[1] - start), self._depth
        packed = self._packed.get((row, start))
        if packed is None:
            return np.zeros(shape, self.main.dtype)
        return np.frombuffer(bytearray(zlib.decompress(packed)), self.main.dtype).reshape(shape)

    def _pieces(self, columns: range) -> Iterator[tuple[int, slice, slice]]:
        """(first column, where in the piece, where among `columns`) of each piece that has some of them."""
        for start in range(columns.start // self.width * self.width, columns.stop, self.width):
            low, high = max(start, columns.start), min(start + self.width, columns.stop)
            yield start, slice(low - start, high - start), slice(low - columns.start, high - columns.start)


Elements = np.ndarray | Deflated


def new_indexes(shape: tuple[int, int, int], m: int, width: int) -> Elements:
    """Zeros, uint8 (h, w, C) with m channels of y, in the form that fits their number."""
    if shape[0] * shape[1] * shape[2] <= PLAIN or shape[2] == m:
        return np.zeros(shape, np.uint8)
    return Deflated(shape, m, np.uint8, width)


def new_symbols(index: Elements) -> Elements:
    """Zeros, int16, in the shape and form of their table indexes."""
    if isinstance(index, Deflated):
        return Deflated(index.shape, index.main.shape[2], np.int16, index.width)
    return np.zeros(index.shape, np.int16)


def first_channels(elements: Elements, count: int) -> Elements:
    """The first `count` channels, without a copy."""
    return elements.first(count) if isinstance(elements, Deflated) else elements[..., :count]
