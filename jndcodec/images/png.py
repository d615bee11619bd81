"""PNG chunks that Pillow does not give as they are, and the exact transparency that one of them (tRNS) means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_WANTED = frozenset({b"IHDR", b"tRNS", b"cICP"})
_MAX_LENGTH = 1 << 10
_GREY, _RGB, _PALETTE = 0, 2, 3  # colour types


def read_chunks(stream: BinaryIO) -> dict[bytes, bytes]:
    """The first IHDR, tRNS and cICP before the pixels, as far as they are there. The stream stays where it was."""
    found: dict[bytes, bytes] = {}
    before = stream.tell()
    stream.seek(0)
    if stream.read(8) == _SIGNATURE:
        while len(head := stream.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
            length = int.from_bytes(head[:4], "big")
            if head[4:] in _WANTED and length <= _MAX_LENGTH:
                found.setdefault(head[4:], stream.read(length))
                stream.seek(4, 1)
            else:
                stream.seek(length + 4, 1)
    stream.seek(before)
    return found


@dataclass(frozen=True)
class Key:
    """What tRNS says: one transparent colour, or alpha for the entries of the palette."""

    depth: int
    colour: int
    data: bytes
    low: np.ndarray | None = None  # uint8 (H, W, 3): low bytes of 16-bit RGB samples; Pillow gives the high ones

    def alpha(self, image: Image.Image) -> np.ndarray:
        """uint8 (H, W) for the loaded image."""
        if self.colour == _PALETTE:
            table = np.full(256, 255, np.uint8)
            table[: len(self.data)] = np.frombuffer(self.data[:256], np.uint8)
            return table[np.asarray(image)]
        key = np.frombuffer(self.data, ">u2") & (1 << self.depth) - 1
        if self.low is not None:
            same = (np.asarray(image) == key >> 8).all(axis=2) & (self.low == key & 255).all(axis=2)
        elif self.colour == _RGB:
            same = (np.asarray(image) == key).all(axis=2)
        else:  # Pillow widens grey samples of fewer than 8 bits to the whole range
            same = np.asarray(image) == (key[0] if self.depth >= 8 else key[0] * (255 // ((1 << self.depth) - 1)))
            if image.mode == "1":
                same = np.asarray(image) == bool(key[0])
        return np.where(same, 0, 255).astype(np.uint8)


def read_key(stream: BinaryIO, chunks: dict[bytes, bytes]) -> Key | None:
    """The transparency of a PNG by tRNS, None without. Before the image is loaded; the stream stays where it was."""
    header, data = chunks.get(b"IHDR", b""), chunks.get(b"tRNS")
    if data is None or len(header) < 10:
        return None
    depth, colour = header[8], header[9]
    if colour == _PALETTE:
        return Key(depth, colour, data)
    needed = {_GREY: 2, _RGB: 6}.get(colour)
    if needed is None or len(data) < needed:
        return None
    low = _low_bytes(stream) if colour == _RGB and depth == 16 else None
    return Key(depth, colour, data[:needed], low)


def _low_bytes(stream: BinaryIO) -> np.ndarray:
    """Decoded a second time as if the samples were little-endian: then Pillow takes their other bytes."""
    before = stream.tell()
    stream.seek(0)
    image = Image.open(stream)
    image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
    image.load()
    stream.seek(before)
    return np.asarray(image)
