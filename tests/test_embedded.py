"""Metadata that Pillow leaves in JPEG 2000, BMP and PSD files."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from jndcodec.images.embedded import embedded_blocks
from jndcodec.images.exif import clean
from jndcodec.images.icc import ADOBE_CURVE, ADOBE_RGB, rgb_profile
from jndcodec.images.loading import load_picture

ICC = rgb_profile(ADOBE_RGB, ADOBE_CURVE, "a profile") or b""
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x10F], exif[0x112] = "Acme", 1
    return exif.tobytes()[6:]


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def jp2() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "JPEG2000")
    return stream.getvalue()


def test_jpeg_2000() -> None:
    data = jp2()
    plain = load_picture(data)
    colour = box(b"colr", b"\1\0\0" + struct.pack(">I", 16))
    assert plain.icc is plain.exif is plain.xmp is None and colour in data
    header = data.index(b"jp2h") - 4
    length = int.from_bytes(data[header : header + 4], "big")
    inside = data[header + 8 : header + length].replace(colour, box(b"colr", b"\2\0\0" + ICC))
    extra = box(b"uuid", b"JpgTiffExif->JP2" + exif_block())
    extra += box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP)
    codestream = data[header + length :]
    assert codestream[4:8] == b"jp2c"
    codestream = bytes(4) + codestream[4:]  # length 0: to the end of the file
    for file in (
        data[:header] + box(b"jp2h", inside) + extra + codestream,
        data[:header] + box(b"jp2h", inside) + extra + struct.pack(">I4sQ", 1, b"free", 20) + b"1234" + codestream,
    ):
        picture = load_picture(file)
        assert (picture.icc, picture.exif, picture.xmp) == (ICC, exif_block(), XMP) and picture.notes == []
        assert np.array_equal(picture.rgb, plain.rgb)


def test_damaged_boxes_are_passed_over() -> None:
    data = jp2()
    image = Image.open(io.BytesIO(data))
    long, short = struct.pack(">I4s", 1 << 30, b"uuid"), struct.pack(">I4s", 3, b"uuid")
    for end in (b"", b"\0\0", long, short, struct.pack(">I4sI", 1, b"uuid", 0), box(b"uuid", b""), box(b"jp2h", b"0")):
        assert embedded_blocks(image, io.BytesIO(data + end)) == {}


@pytest.mark.parametrize("whole", [True, False])
def test_bmp(whole: bool) -> None:
    pixels = PIXELS[::-1, :, ::-1].tobytes()
    size = 14 + 124
    header = struct.pack("<IiiHHIIiiII", 124, 16, 16, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    header = (
        header.ljust(56, b"\0") + b"DEBM" + bytes(36 + 12) + struct.pack("<IIII", 4, 124 + len(pixels), len(ICC), 0)
    )
    file = b"BM" + struct.pack("<IHHI", size + len(pixels) + len(ICC), 0, 0, size) + header + pixels
    picture = load_picture(file + (ICC if whole else ICC[:50]))
    assert picture.icc == (ICC if whole else None) and np.array_equal(picture.rgb, PIXELS)


def test_psd() -> None:
    def resource(number: int, data: bytes) -> bytes:
        return b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)

    resources = resource(1039, ICC) + resource(1058, exif_block()) + resource(1060, XMP) + resource(1028, b"\x1c\2\0")
    data = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 16, 16, 8, 3) + bytes(4)
    data += struct.pack(">I", len(resources)) + resources + bytes(4) + bytes(2) + PIXELS.transpose(2, 0, 1).tobytes()
    picture = load_picture(data)
    assert (picture.icc, picture.exif, picture.xmp) == (ICC, clean(exif_block()).block, XMP)
    assert np.array_equal(picture.rgb, PIXELS)
    assert picture.notes == ["left out, since .jlc has no place for it: IPTC"]
