"""ICC, EXIF and XMP that Pillow leaves in JPEG 2000, BMP and PSD files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from jndcodec.container.jlc import MAX_METADATA

_UUIDS = {b"JpgTiffExif->JP2": "exif", bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp"}
_RESTRICTED, _ANY = 2, 3  # methods of a JPEG 2000 colour box: an ICC profile
_BMP_V5, _EMBEDDED = 124, b"DEBM"  # length of the header; bV5CSType 'MBED'
_PSD = {1039: "icc_profile", 1058: "exif", 1060: "xmp"}  # image resources


def embedded_blocks(image: Image.Image, stream: BinaryIO | None) -> dict[str, bytes]:
    """What Pillow would have put into `info`: icc_profile, exif, xmp. stream: the file, if it is at hand."""
    if image.format == "PSD":
        return {_PSD[number]: data for number, _, data in getattr(image, "resources", ()) if number in _PSD and data}
    if stream is None:
        return {}
    if image.format == "JPEG2000":
        return _of_jp2(stream)
    return _of_bmp(stream) if image.format == "BMP" else {}


def _boxes(stream: BinaryIO, at: int, end: int | None) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of each box from `at` on; to the end of the file if `end` is None."""
    stop = stream.seek(0, 2) if end is None else end
    while at + 8 <= stop:
        stream.seek(at)
        length, kind = struct.unpack(">I4s", stream.read(8))
        start = at + 8
        if length == 1:  # it follows, in 8 bytes
            length = int.from_bytes(stream.read(8), "big")
            start += 8
        last = at + length if length else stop
        if not start <= last <= stop:
            return
        yield kind, start, last
        at = last


def _of_jp2(stream: BinaryIO) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def read(start: int, end: int) -> bytes:
        stream.seek(start)
        return stream.read(min(end - start, MAX_METADATA + 1))

    stream.seek(0)
    if stream.read(8)[4:] != b"jP  ":
        return found  # a bare codestream
    for kind, start, end in _boxes(stream, 0, None):
        if kind == b"jp2h":
            for inner, first, last in _boxes(stream, start, end):
                if inner == b"colr" and read(first, first + 1)[:1] in (bytes([_RESTRICTED]), bytes([_ANY])):
                    found.setdefault("icc_profile", read(first + 3, last))
        elif kind == b"uuid" and (name := _UUIDS.get(read(start, start + 16))):
            found.setdefault(name, read(start + 16, end))
    return found


def _of_bmp(stream: BinaryIO) -> dict[str, bytes]:
    stream.seek(14)
    header = stream.read(_BMP_V5)
    if len(header) < _BMP_V5 or int.from_bytes(header[:4], "little") < _BMP_V5 or header[56:60] != _EMBEDDED:
        return {}
    offset, size = struct.unpack_from("<II", header, 112)
    stream.seek(14 + offset)
    profile = stream.read(min(size, MAX_METADATA + 1))
    return {"icc_profile": profile} if len(profile) == size else {}
