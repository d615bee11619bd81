"""The coded symbols of a picture: what both directions must agree on, to streams and back.

Order: rows, columns, channels. y is cut into bands of whole rows, each a rANS stream of its own, so that the coder's
memory stays bounded: a band holds as many rows as keep it within BAND elements (at least one). Bands but the last are
preceded by their length as a varint. A band without coded elements is empty.

A symbol beyond its table (rare: a bright sky under a small scale) is coded as the first or last one of the table,
and what is missing stands in front of the streams as a varint. So the tables stay short and nothing is ever cut off.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jndcodec.container.jlc import read_varint, varint
from jndcodec.entropy import rans
from jndcodec.entropy.elements import Elements, new_symbols
from jndcodec.entropy.tables import Tables
from jndcodec.errors import FormatError

BAND = 1 << 22
SYMBOL_LIMIT = 2**15 - 1  # magnitude that any symbol may have


@dataclass
class Symbols:
    """z int16 (hz, wz, cz), y int16 (h, w, m), and their table indexes: uint8 (cz,) and (h, w, m)."""

    z: np.ndarray
    y: Elements
    index_z: np.ndarray
    index_y: Elements

    def crc(self) -> int:
        """CRC-32 over z, then the coded elements of y, as little-endian int16."""
        crc = zlib.crc32(self.z.astype("<i2").tobytes())
        for band in bands_of(self.index_y):
            coded = self.y[band].ravel().take(_coded(self.index_y[band]))
            crc = zlib.crc32(coded.astype("<i2").tobytes(), crc)
        return crc

    def pack(self, tables: Tables) -> tuple[bytes, bytes]:
        """The sections of z and y."""
        z, excess_z = _encode(self.z, np.broadcast_to(self.index_z, self.z.shape), tables)
        bands = [_encode(self.y[band], self.index_y[band], tables) for band in bands_of(self.index_y)]
        y = [varint(len(stream)) + stream for stream, _ in bands[:-1]] + [bands[-1][0]]
        return _pack_excess([excess_z]) + z, _pack_excess([excess for _, excess in bands]) + b"".join(y)

    def bits(self, tables: Tables) -> float:
        """What the streams will take, without their constant parts: fast, for choosing between alternatives."""
        bits = float(tables.bits(self.z, np.broadcast_to(self.index_z, self.z.shape)).sum())
        return bits + sum(float(tables.bits(self.y[band], self.index_y[band]).sum()) for band in bands_of(self.index_y))

    @staticmethod
    def unpack_z(section: bytes, shape: tuple[int, int, int], index_z: np.ndarray, tables: Tables) -> np.ndarray:
        """z from its section. FormatError where what exceeds the tables does not fit."""
        excess, at = _unpack_excess(section)
        z, used = _decode(section[at:], np.broadcast_to(index_z, shape), tables, excess, 0)
        _check_used(used, excess)
        return z

    @staticmethod
    def unpack_y(section: bytes, index_y: Elements, tables: Tables) -> Elements:
        """y from its section; elements with index 0 are 0. FormatError as for z, and for bands that do not fit."""
        y, bands, used = new_symbols(index_y), list(bands_of(index_y)), 0
        excess, at = _unpack_excess(section)
        for i, band in enumerate(bands):
            length = len(section) - at
            if i < len(bands) - 1:
                length, at = read_varint(section, at, len(section))
            y[band], used = _decode(section[at : at + length], index_y[band], tables, excess, used)
            at += length
        _check_used(used, excess)
        return y


def bands_of(index_y: Elements) -> Iterator[slice]:
    """Rows that are coded together."""
    rows, columns, channels = index_y.shape
    height = max(1, BAND // (columns * channels))
    return (slice(row, row + height) for row in range(0, rows, height))


def _coded(indexes: np.ndarray) -> np.ndarray:
    """Where elements are coded, in their order. NumPy finds what is true twice as fast as what is not 0."""
    return np.flatnonzero(indexes != 0)


def _encode(symbols: np.ndarray, indexes: np.ndarray, tables: Tables) -> tuple[bytes, np.ndarray]:
    """(stream, how far each element at an end of its table lies beyond it), of the elements that are coded."""
    at = _coded(indexes)
    value, index = symbols.ravel().take(at), indexes.ravel().take(at)
    low, high = tables.low.take(index), tables.high.take(index)
    inside = np.minimum(np.maximum(value, low), high)
    excess = np.abs(value - inside)[(inside == low) | (inside == high)]
    return rans.encode(inside, index, tables) if len(at) else b"", excess


def _decode(stream: bytes, indexes: np.ndarray, tables: Tables, excess: list[int], used: int) -> tuple[np.ndarray, int]:
    """(symbols, how many values of `excess` are used up now)."""
    out, at = np.zeros(indexes.size, np.int16), _coded(indexes)
    if len(at):
        index = indexes.ravel().take(at)
        coded = rans.decode(stream, index, tables)
        if excess:
            used += _add_excess(coded, index, tables, excess[used:])
        out[at] = coded
    return out.reshape(indexes.shape), used


def _pack_excess(parts: list[np.ndarray]) -> bytes:
    """Length and varints; nothing but a zero length where no symbol exceeds its table."""
    values = np.concatenate(parts)
    body = b"".join(varint(value) for value in values.tolist()) if values.any() else b""
    return varint(len(body)) + body


def _unpack_excess(section: bytes) -> tuple[list[int], int]:
    """(values, where the streams begin)."""
    length, at = read_varint(section, 0, len(section))
    end = at + length
    if end > len(section):
        raise FormatError("damaged .jlc file: what exceeds its tables is cut short")
    values = []
    while at < end:
        value, at = read_varint(section, at, end)
        values.append(value)
    return values, at


def _add_excess(coded: np.ndarray, index: np.ndarray, tables: Tables, excess: list[int]) -> int:
    """Add values to the elements at an end of their table, away from 0, in place; returns how many those are."""
    low, high = tables.low.take(index), tables.high.take(index)
    at = np.flatnonzero((coded == low) | (coded == high))
    here = excess[: len(at)]
    if len(here) < len(at) or max(here, default=0) > SYMBOL_LIMIT:
        raise FormatError("damaged .jlc file: what exceeds its tables does not fit its symbols")
    value = coded[at] + np.where(coded[at] == high[at], 1, -1) * np.array(here, np.int32)
    if np.abs(value).max(initial=0) > SYMBOL_LIMIT:
        raise FormatError("damaged .jlc file: a symbol is too large")
    coded[at] = value
    return len(at)


def _check_used(used: int, excess: list[int]) -> None:
    if used != len(excess):
        raise FormatError("damaged .jlc file: what exceeds its tables does not fit its symbols")
