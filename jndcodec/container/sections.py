"""Alpha and metadata as sections of a .jlc file. Alpha is lossless (PNG or WebP, the smaller), metadata deflated."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from jndcodec.container.jlc import MAX_METADATA, Section
from jndcodec.container.limits import pillow_limits
from jndcodec.errors import FormatError

WEBP_MAX_SIDE = 16383
METADATA = {Section.ICC: "icc", Section.EXIF: "exif", Section.XMP: "xmp"}


def pack_extras(alpha: np.ndarray | None, metadata: Mapping[str, bytes | None], strip: bool) -> dict[int, bytes]:
    """Sections for what stands beside the colours: alpha, uint8 (H, W), and {"icc": …, "exif": …, "xmp": …}.

    `strip` leaves out EXIF and XMP; ICC and alpha are seen.
    """
    sections: dict[int, bytes] = {}
    if alpha is not None:
        sections[Section.ALPHA] = pack_alpha(alpha)
    for kind, name in METADATA.items():
        payload = metadata.get(name)
        if payload and not (strip and kind != Section.ICC):
            sections[kind] = zlib.compress(payload, 9)
    return sections


def pack_alpha(alpha: np.ndarray) -> bytes:
    """uint8 (H, W) as the smaller of PNG and lossless WebP."""
    image = Image.fromarray(alpha)
    candidates = []
    for name, options in (("PNG", {"optimize": True}), ("WEBP", {"lossless": True, "method": 4, "exact": True})):
        if name == "WEBP" and max(alpha.shape) > WEBP_MAX_SIDE:
            continue
        stream = io.BytesIO()
        image.save(stream, name, **options)
        candidates.append(stream.getvalue())
    return min(candidates, key=len)


def unpack_alpha(payload: bytes, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W); FormatError if it is not a picture of `size` = (H, W). The size is checked before it is decoded."""
    try:
        with pillow_limits, Image.open(io.BytesIO(payload), formats=("PNG", "WEBP")) as image:
            if image.size == size[::-1]:
                return np.array(image.convert("L"))
    except (OSError, SyntaxError, ValueError):
        pass
    raise FormatError("damaged .jlc file: its alpha channel cannot be decoded; get the file again")


def unpack_metadata(sections: dict[int, bytes]) -> dict[str, bytes]:
    """{"icc": …, "exif": …, "xmp": …} of those that are there; FormatError if damaged or absurdly large."""
    found = {}
    for kind, name in METADATA.items():
        if kind in sections:
            inflater = zlib.decompressobj()
            try:
                found[name] = inflater.decompress(sections[kind], MAX_METADATA + 1)
            except zlib.error:
                raise FormatError(f"damaged .jlc file: its {name.upper()} data cannot be inflated") from None
            if not inflater.eof or len(found[name]) > MAX_METADATA:
                raise FormatError(f"damaged .jlc file: its {name.upper()} data is cut short or larger than 64 MiB")
    return found
