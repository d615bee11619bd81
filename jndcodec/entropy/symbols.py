"""The coded symbols of a picture: what both directions must agree on, to streams and back.

Order: rows, columns, channels. y is cut into bands of whole rows, each a rANS stream of its own, so that the coder's
memory stays bounded: a band holds as many rows as keep it within BAND elements (at least one). Bands but the last are
preceded by their length as a varint. A band without coded elements is empty.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jndcodec.container import read_varint, varint
from jndcodec.entropy import rans
from jndcodec.entropy.tables import Tables

BAND = 1 << 22


@dataclass
class Symbols:
    """z int16 (hz, wz, cz), y int16 (h, w, m), and their table indexes: uint8 (cz,) and (h, w, m)."""

    z: np.ndarray
    y: np.ndarray
    index_z: np.ndarray
    index_y: np.ndarray

    def crc(self) -> int:
        """CRC-32 over z, then the coded elements of y, as little-endian int16."""
        crc = zlib.crc32(self.z.astype("<i2").tobytes())
        for band in _bands(self.index_y):
            crc = zlib.crc32(self.y[band][self.index_y[band] > 0].astype("<i2").tobytes(), crc)
        return crc

    def pack(self, tables: Tables) -> tuple[bytes, bytes]:
        """The streams of z and y."""
        z = _encode(self.z, np.broadcast_to(self.index_z, self.z.shape), tables)
        streams = [_encode(self.y[band], self.index_y[band], tables) for band in _bands(self.index_y)]
        return z, b"".join(varint(len(stream)) + stream for stream in streams[:-1]) + streams[-1]

    def bits(self, tables: Tables) -> float:
        """What the streams will take, without their constant parts: fast, for choosing between alternatives."""
        bits = float(tables.bits(self.z, np.broadcast_to(self.index_z, self.z.shape)).sum())
        return bits + sum(float(tables.bits(self.y[band], self.index_y[band]).sum()) for band in _bands(self.index_y))

    @staticmethod
    def unpack_z(stream: bytes, shape: tuple[int, int, int], index_z: np.ndarray, tables: Tables) -> np.ndarray:
        """z from its stream."""
        return _decode(stream, np.broadcast_to(index_z, shape), tables)

    @staticmethod
    def unpack_y(stream: bytes, index_y: np.ndarray, tables: Tables) -> np.ndarray:
        """y from its stream; elements with index 0 are 0."""
        y, at, bands = np.empty(index_y.shape, np.int16), 0, list(_bands(index_y))
        for i, band in enumerate(bands):
            length = len(stream) - at
            if i < len(bands) - 1:
                length, at = read_varint(stream, at, len(stream))
            y[band] = _decode(stream[at : at + length], index_y[band], tables)
            at += length
        return y


def _bands(index_y: np.ndarray) -> Iterator[slice]:
    rows, columns, channels = index_y.shape
    height = max(1, BAND // (columns * channels))
    return (slice(row, row + height) for row in range(0, rows, height))


def _encode(symbols: np.ndarray, indexes: np.ndarray, tables: Tables) -> bytes:
    coded = indexes > 0
    return rans.encode(symbols[coded], indexes[coded], tables) if coded.any() else b""


def _decode(stream: bytes, indexes: np.ndarray, tables: Tables) -> np.ndarray:
    out = np.zeros(indexes.shape, np.int16)
    coded = indexes > 0
    if coded.any():
        out[coded] = rans.decode(stream, indexes[coded], tables)
    return out
