"""What stands beside the pixels: long XMP and ICC, extended XMP, resolution, and a note for what has no place."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational
from png_tools import png

import jndcodec
from jndcodec.container import jlc, limits
from jndcodec.errors import InputError
from jndcodec.images import metadata as metadata_module
from jndcodec.images.exif_tags import resolution, with_resolution
from jndcodec.images.loading import Picture, load_picture, picture_to_image
from jndcodec.images.saving import format_for, write_image
from jndcodec.images.xmp import EXTENSION, MARKER, join, split

SMALL = np.zeros((8, 8, 3), np.uint8)
RDF = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'


def saved(file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(SMALL).save(stream, file_format, **options)
    return stream.getvalue()


def packet(inside: bytes) -> bytes:
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + RDF + inside + b"</rdf:RDF></x:xmpmeta>"


# --- long blocks ---


@pytest.mark.parametrize("zipped", [False, True])
def test_long_xmp_in_png_is_read(zipped: bool) -> None:
    """Pillow stops at 1 MiB of text by itself."""
    xmp = packet(b"<!-- " + b"long " * 700_000 + b"-->")
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=zipped)
    limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    picture = load_picture(saved("PNG", pnginfo=info))
    assert picture.xmp == xmp and picture.notes == []
    assert (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY) == limits


def test_a_long_icc_profile_in_png_is_read() -> None:
    icc = bytearray(3 << 20)
    icc[36:40], icc[16:20] = b"acsp", b"RGB "
    picture = load_picture(saved("PNG", icc_profile=bytes(icc)))
    assert picture.icc == icc and picture.notes == []


def test_blocks_that_no_section_holds_are_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata_module, "MAX_METADATA", 1000)
    picture = load_picture(saved("WEBP", xmp=packet(b" " * 1000)))
    assert picture.xmp is None and picture.notes == ["its XMP is larger than 64 MiB and left out"]
    assert jlc.MAX_METADATA == 64 << 20  # as the note has it


def test_text_of_a_bomb_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_METADATA", 1000)
    for kind in (b"iCCP", b"zTXt"):
        with pytest.raises(InputError, match="64 MiB"):
            load_picture(png(SMALL, 8, 2, [(kind, b"name\0\0" + zlib.compress(bytes(2000)))]))


def test_a_profile_too_long_for_jpeg_is_left_out_and_said() -> None:
    image = picture_to_image(Picture(SMALL, icc=bytes(17 << 20)))
    notes = write_image(image, io.BytesIO(), "JPEG")
    assert any("so long its ICC profile" in note for note in notes)
    image = picture_to_image(Picture(SMALL, icc=bytes(255 * 65519)))
    assert not any("ICC" in note for note in write_image(image, io.BytesIO(), "JPEG"))


# --- XMP ---


def extended(main: bytes, extra: bytes, size: int = 100) -> tuple[bytes, list[bytes]]:
    """The short packet and the segments of the long one, written as the specification says."""
    digest = hashlib.md5(extra).hexdigest().upper().encode()
    note = b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="'
    parts = [
        EXTENSION + digest + struct.pack(">II", len(extra), at) + extra[at : at + size]
        for at in range(0, len(extra), size)
    ]
    return packet(main + note + digest + b'"/>'), parts


MAIN = b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:format>x</dc:format></rdf:Description>'
DEPTH = b'<rdf:Description rdf:about="" xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" GDepth:Data="AAAA%s"/>'


def jpeg_with(segments: list[bytes]) -> bytes:
    data = saved("JPEG")
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in segments) + data[2:]


def test_extended_xmp_is_joined() -> None:
    xmp, parts = extended(MAIN, packet(DEPTH % (b"B" * 300)))
    for order in (parts, parts[::-1]):
        picture = load_picture(jpeg_with([MARKER + xmp, *order]))
        assert picture.notes == [] and b"dc:format" in picture.xmp and b"B" * 300 in picture.xmp
        assert b"HasExtendedXMP" not in picture.xmp and picture.xmp.count(b"<rdf:RDF") == 1


def test_names_that_the_extended_part_declares_outside_come_with_it() -> None:
    extra = packet(b'<rdf:Description rdf:about="" g:Data="7"/>').replace(RDF, RDF[:-1] + b' xmlns:g="ns:g">')
    xmp, parts = extended(MAIN, extra)
    joined = join(xmp, parts)
    assert joined is not None and joined.count(b'xmlns:g="ns:g"') == 1 and b'g:Data="7"' in joined


@pytest.mark.parametrize("damage", ["missing", "hole", "not XML", "other id"])
def test_damaged_extended_xmp_is_said(damage: str) -> None:
    xmp, parts = extended(MAIN, packet(DEPTH % (b"B" * 300)) if damage != "not XML" else packet(b"<a>" + b" " * 300))
    parts = {
        "missing": [],
        "hole": parts[:1] + parts[2:],
        "not XML": parts,
        "other id": [part.replace(part[len(EXTENSION) : len(EXTENSION) + 32], b"0" * 32) for part in parts],
    }[damage]
    picture = load_picture(jpeg_with([MARKER + xmp, *parts]))
    assert picture.xmp == xmp and picture.notes == ["the extended part of its XMP is damaged and left out"]


def test_long_xmp_goes_into_jpeg_and_comes_back() -> None:
    xmp = packet(MAIN + DEPTH % (b"C" * 200_000))
    image = picture_to_image(Picture(SMALL, xmp=xmp))
    stream = io.BytesIO()
    assert not any("XMP" in note for note in write_image(image, stream, "JPEG"))
    again = load_picture(stream.getvalue())
    assert again.notes == [] and b"C" * 200_000 in again.xmp and b"dc:format" in again.xmp
    assert max(len(part) for part in split(xmp)) <= 65533


def test_xmp_written_by_imagemagick() -> None:
    info, exif = PngImagePlugin.PngInfo(), Image.Exif()
    exif[0x10F] = "Acme"
    for name, block in (("xmp", packet(MAIN)), ("exif", exif.tobytes())):
        lines = block.hex()
        text = "\n".join(["", name, f"{len(block):8}", *(lines[i : i + 72] for i in range(0, len(lines), 72)), ""])
        info.add_text(f"Raw profile type {name}", text, zip=True)
    picture = load_picture(saved("PNG", pnginfo=info))
    assert picture.xmp == packet(MAIN) and b"Acme" in picture.exif and picture.notes == []


# --- resolution ---


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_the_resolution_of_a_scan_survives(file_format: str, suffix: str) -> None:
    picture = load_picture(saved(file_format, dpi=(600, 300)))
    assert picture.notes == [] and resolution(picture.exif) == pytest.approx((600, 300), rel=1e-3)
    stream = io.BytesIO()
    write_image(picture_to_image(picture), stream, format_for(suffix))
    assert Image.open(stream).info["dpi"] == pytest.approx((600, 300), rel=1e-3)


@pytest.mark.parametrize("dpi", [(72, 72), (96, 96), (1, 1)])
def test_a_resolution_that_says_nothing_costs_nothing(dpi: tuple[int, int]) -> None:
    assert load_picture(saved("JPEG", dpi=dpi)).exif is None
    assert load_picture(saved("PNG", dpi=dpi)).exif is None


def test_a_resolution_joins_an_exif_block_and_never_replaces_one() -> None:
    exif = Image.Exif()
    exif[0x10F], exif[0x112] = "Acme", 6
    exif[0x8769] = {0x920A: 50.0}
    picture = load_picture(saved("PNG", exif=exif.tobytes(), dpi=(600, 300)))
    assert resolution(picture.exif) == pytest.approx((300, 600), rel=1e-3)  # turned with the picture
    found = Image.Exif()
    found.load(picture.exif)
    assert found[0x10F] == "Acme" and found.get_ifd(0x8769)[0x920A] == 50.0
    assert with_resolution(picture.exif, (200, 200)) == picture.exif


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".gif", ".webp", ".jp2", ".tga", ".ppm"])
def test_an_absurd_resolution_in_the_exif_spoils_no_file(suffix: str) -> None:
    for pair in ((0xFFFFFFFF, 1), (1, 0xFFFFFFFF), (0, 0), (70_000, 1), (600, 1)):
        exif = Image.Exif()
        exif[0x11A] = exif[0x11B] = IFDRational(*pair)
        image = picture_to_image(Picture(SMALL, exif=exif.tobytes()[6:]))
        stream = io.BytesIO()
        write_image(image, stream, format_for(suffix))
        assert Image.open(stream).size == (8, 8)


@pytest.mark.parametrize("dpi", [(float("nan"), 300), (0, 0), (-5, 300), (1e9, 300)])
def test_a_senseless_resolution_is_passed_over(dpi: tuple[float, float]) -> None:
    assert with_resolution(None, dpi) is None


# --- what has no place ---


def photoshop(code: int, data: bytes) -> bytes:
    return b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", code, 0, len(data)) + data + b"\0" * (len(data) % 2)


def test_what_has_no_place_is_said_in_one_note() -> None:
    data = saved("JPEG", comment=b"made by hand")
    iptc = photoshop(0x0404, b"\x1c\x02\x78\0\x07caption")
    data = data[:2] + b"\xff\xed" + struct.pack(">H", 2 + len(iptc)) + iptc + data[2:]
    assert load_picture(data).notes == ["left out, since .jlc has no place for it: IPTC, comment"]
    info = PngImagePlugin.PngInfo()
    for key in ("Title", "parameters", "Software", "date:create"):
        info.add_text(key, "something")
    (note,) = load_picture(saved("PNG", pnginfo=info)).notes
    assert note.endswith("text (Title, parameters)")
    tiff = saved("TIFF", tiffinfo={33723: b"\x1c\x02\x78\0\x07caption"})
    assert load_picture(tiff).notes[0].endswith(": IPTC")
    assert load_picture(saved("GIF", comment=b"hello")).notes[0].endswith(": comment")


def test_chunks_after_the_pixels_count_too() -> None:
    data = png(SMALL, 8, 2)
    text = png(SMALL, 8, 2, [(b"tEXt", b"Title\0x")])[33 : 33 + 12 + 7]
    assert load_picture(data[:-12] + text + data[-12:]).notes[0].endswith("text (Title)")


def test_all_of_it_survives_the_codec(tiny_weights) -> None:
    xmp = packet(MAIN + DEPTH % (b"D" * 70_000))
    data = jndcodec.encode(saved("PNG", dpi=(600, 600)), weights=tiny_weights)
    assert resolution(jndcodec.decode(data, weights=tiny_weights).info["exif"][6:]) == pytest.approx((600, 600), 1e-3)
    data = jndcodec.encode(saved("WEBP", xmp=xmp), weights=tiny_weights)
    assert jndcodec.decode(data, weights=tiny_weights).info["xmp"] == xmp
