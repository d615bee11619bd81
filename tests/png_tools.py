"""PNG files of any colour type, bit depth and chunk, which Pillow does not write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import numpy as np

_ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    samples: np.ndarray, depth: int, colour: int, chunks: Iterable[tuple[bytes, bytes]] = (), interlaced: bool = False
) -> bytes:
    """samples: integers (H, W, channels) below 2^depth. chunks: kind and data, written before the pixels."""
    h, w = samples.shape[:2]
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in _ADAM7] if interlaced else [samples]
    rows = b"".join(b"\0" + _row(row, depth) for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlaced)
    extra = b"".join(chunk(kind, data) for kind, data in chunks)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _row(row: np.ndarray, depth: int) -> bytes:
    flat = row.reshape(-1)
    if depth >= 8:
        return flat.astype(">u2" if depth == 16 else "u1").tobytes()
    bits = (flat[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()
