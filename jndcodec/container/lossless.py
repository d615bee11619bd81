"""A whole picture, exact, as the payload of the section LOSSLESS.

It is a VP8L bitstream, which is lossless WebP without its container, or a PNG file where a side is too long for that.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from jndcodec.container.jlc import VP8L_ALPHA, VP8L_ALPHA_AT
from jndcodec.container.limits import pillow_limits
from jndcodec.container.sections import WEBP_MAX_SIDE
from jndcodec.errors import FormatError

_RIFF = struct.Struct("<4sI4s4sI")  # "RIFF", bytes that follow, "WEBP", "VP8L", bytes of the payload
_PNG = b"\x89PNG\r\n\x1a\n"
_VP8L = (
    0x2F  # the first byte of the bitstream; then, from the lowest bit, width - 1 and height - 1 (14 each), alpha (1)
)


def pack_lossless(
    rgb: np.ndarray, alpha: np.ndarray | None, *, method: int = 6, quality: int = 75, keep_hidden: bool = False
) -> bytes:
    """uint8 (H, W, 3) and (H, W) as a payload.

    method 0 … 6 and quality 0 … 100 are libwebp's: more of either, fewer bytes and more time. Colours under alpha 0 are
    whatever takes the fewest bytes, unless `keep_hidden`.
    """
    image = Image.fromarray(rgb if alpha is None else np.dstack([rgb, alpha]))
    stream = io.BytesIO()
    if max(image.size) > WEBP_MAX_SIDE:
        image.save(stream, "PNG")
        return stream.getvalue()
    image.save(stream, "WEBP", lossless=True, exact=keep_hidden, method=method, quality=quality)
    data = stream.getvalue()
    *_, length = _RIFF.unpack_from(data)
    payload = bytearray(data[_RIFF.size : _RIFF.size + length])
    if alpha is not None:
        payload[VP8L_ALPHA_AT] |= VP8L_ALPHA  # libwebp leaves it out where nothing is transparent
    return bytes(payload)


def unpack_lossless(payload: bytes, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """uint8 (H, W, 3) and the alpha channel, (H, W), if there is one.

    FormatError if it is not a picture of `size` = (H, W), which is checked before memory is taken for it.
    """
    try:
        if _size(payload) == size:
            with pillow_limits, Image.open(io.BytesIO(_as_file(payload)), formats=("PNG", "WEBP")) as image:
                if image.size == size[::-1] and image.mode in ("RGB", "RGBA"):
                    pixels = np.array(image)
                    return np.ascontiguousarray(pixels[..., :3]), pixels[..., 3] if image.mode == "RGBA" else None
    except (OSError, SyntaxError, ValueError, struct.error):
        pass
    raise FormatError("damaged .jlc file: its lossless picture cannot be decoded; get the file again")


def _as_file(payload: bytes) -> bytes:
    """A PNG or WebP file."""
    if payload.startswith(_PNG):
        return payload
    padding = len(payload) % 2
    head = _RIFF.pack(b"RIFF", 12 + len(payload) + padding, b"WEBP", b"VP8L", len(payload))
    return head + payload + bytes(padding)


def _size(payload: bytes) -> tuple[int, int] | None:
    """(H, W) from the head of either format, None for other bytes; struct.error where it is cut short."""
    if payload.startswith(_PNG):
        width, height = struct.unpack_from(">II", payload, 16)
        return height, width
    first, bits = struct.unpack_from("<BI", payload)
    return ((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1) if first == _VP8L else None
