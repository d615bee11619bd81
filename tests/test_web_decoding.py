"""The decoder in a browser, in headless Chromium: the second, independent reader of docs/FORMAT.md.

Needs chromium with its driver, and ONNX Runtime Web in JNDCODEC_WEB_RUNTIME (see docs/WEB.md); else it is skipped.
"""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from web_page import GOLDEN, Page, close, needs_browser

from jndcodec.codec import Codec
from jndcodec.container.jlc import NO_MODEL, Flags, Jlc, Section, parse
from jndcodec.container.lossless import pack_lossless
from jndcodec.entropy.symbols import BAND, Symbols
from jndcodec.entropy.tables import gaussian_tables
from jndcodec.errors import JndcodecError

pytestmark = needs_browser
P3_PRIMARIES = {  # of Display P3, adapted to D50, in 1/65536 as an ICC profile holds them
    b"rXYZ": (33759, 15807, -69),
    b"gXYZ": (19135, 45367, 2745),
    b"bXYZ": (10296, 4363, 51385),
}


@pytest.fixture(scope="module")
def p3() -> bytes:
    """An ICC profile of Display P3: that of sRGB, which has the same curve, with other primaries."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for entry in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        if values := P3_PRIMARIES.get(bytes(profile[entry : entry + 4])):
            at = int.from_bytes(profile[entry + 4 : entry + 8], "big") + 8
            profile[at : at + 12] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    return bytes(profile)


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.jlc")))
def test_golden_files(page: Page, golden_codec: Codec, name: str) -> None:
    data = (GOLDEN / f"{name}.jlc").read_bytes()
    result = page.decode(data)
    close(result["image"], golden_codec.decode(data))
    jlc = parse(data)
    facts = result["facts"]
    assert facts["symbolsCrc"] == f"{jlc.symbols_crc:08x}"  # it was compared with the symbols, or there were no picture
    assert facts["sections"] == {Section(kind).name.lower(): len(payload) for kind, payload in jlc.sections.items()}
    assert facts["overhead"] + sum(facts["sections"].values()) == len(data)


def test_windows_join_without_a_seam(page: Page, golden_codec: Codec, photo) -> None:
    """More columns than the synthesis reads at once, and the networks' reach between them."""
    data = golden_codec.encode(Image.fromarray(photo(50, 1300)), quality=90, effort=1)
    close(page.decode(data)["image"], golden_codec.decode(data))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_grey_and_alpha(page: Page, golden_codec: Codec, photo, mode: str) -> None:
    picture = Image.fromarray(photo(40, 70)).convert(mode)
    if "A" in mode:
        picture.putalpha(Image.fromarray(photo(40, 70, 5)[..., 1]))
    data = golden_codec.encode(picture, effort=1)
    result = page.decode(data)
    close(result["image"], golden_codec.decode(data))
    if "A" in mode:
        np.testing.assert_array_equal(result["image"].getchannel("A"), picture.getchannel("A"))


@pytest.mark.parametrize("kind", ["rgb", "alpha", "grey", "clear", "long"])
def test_lossless_files_are_exact(page: Page, golden_codec: Codec, photo, kind: str) -> None:
    """A screenshot-like picture in the section LOSSLESS, as WebP and, where a side is too long for it, as PNG."""
    rgb = photo(30, 41) if kind != "long" else photo(16, 200).repeat(100, 1)
    rgb = rgb[..., :1].repeat(3, 2) if kind == "grey" else rgb
    alpha = None if kind in ("rgb", "grey") else photo(*rgb.shape[:2], 3)[..., 0] if kind != "clear" else None
    if kind == "clear":
        alpha = np.full(rgb.shape[:2], 255, np.uint8)
        alpha[3:9] = 1
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    flags = Flags.LOSSLESS | (Flags.GREY if kind == "grey" else Flags.NONE)
    sections: dict[int, bytes] = {Section.LOSSLESS: pack_lossless(rgb, alpha)}
    if kind != "grey":
        sections[Section.ICC] = zlib.compress(icc)
    data = Jlc(NO_MODEL, rgb.shape[1], rgb.shape[0], 0, 0, flags, sections).pack()
    result, expected = page.decode(data), golden_codec.decode(data)
    image = result["image"]
    assert (image.mode, image.size, image.info.get("icc_profile")) == (
        expected.mode,
        expected.size,
        expected.info.get("icc_profile"),
    )
    seen = np.asarray(expected)[..., -1:] > 0 if alpha is not None else True
    assert (np.asarray(image) * seen == np.asarray(expected) * seen).all()
    assert result["facts"]["lossless"] and result["facts"]["alpha"] == (alpha is not None)


def test_metadata_and_orientation(page: Page, golden_codec: Codec, photo) -> None:
    picture = Image.fromarray(photo(33, 65))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    xmp = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>\u00e9</x:xmpmeta>".encode()
    picture.save(stream, "WEBP", lossless=True, exif=exif, icc_profile=icc, xmp=xmp)
    data = golden_codec.encode(stream.getvalue(), effort=1)
    decoded, expected = page.decode(data)["image"], golden_codec.decode(data)
    close(decoded, expected)
    assert decoded.size == (33, 65)
    assert decoded.info["icc_profile"] == icc
    assert decoded.getexif()[0x010F] == "maker" and decoded.getexif()[0x0112] == 1
    assert decoded.info["XML:com.adobe.xmp"].encode() == expected.info["xmp"]


def test_a_wide_profile_moves_the_colours_on_the_screen(page: Page, golden_codec: Codec, p3: bytes) -> None:
    """The browser shows Display P3 as what it is: its red is beyond sRGB's."""
    picture = Image.new("RGB", (32, 32), (180, 90, 60))
    stream = io.BytesIO()
    picture.save(stream, "PNG", icc_profile=p3)
    data = golden_codec.encode(stream.getvalue(), quality=100, effort=1)
    decoded = page.decode(data)["image"]
    assert decoded.info["icc_profile"] == p3
    profile = ImageCms.ImageCmsProfile(io.BytesIO(p3))
    expected = ImageCms.profileToProfile(decoded, profile, ImageCms.createProfile("sRGB"))
    code = """const element = document.createElement("jlc-image");
      await import("./jlc-image.js");
      const loaded = new Promise((done) => (element.onload = done, element.addEventListener("load", done)));
      element.setAttribute("src", given[0]); document.body.append(element); await loaded;
      const pen = new OffscreenCanvas(32, 32).getContext("2d");
      pen.drawImage(element.shadowRoot.querySelector("img"), 0, 0);
      return [...pen.getImageData(16, 16, 1, 1).data].slice(0, 3);"""
    shown = page.script(code, page.put(data))
    assert np.abs(np.array(shown) - expected.getpixel((16, 16))).max() <= 3
    assert np.abs(np.array(shown) - decoded.getpixel((16, 16))).max() > 3


def test_symbols_in_several_bands_and_beyond_their_tables(page: Page) -> None:
    """More elements than one stream holds, and symbols far outside their tables, straight from the entropy coder."""
    rows, row_length = 5, BAND // 2
    at = np.arange(0, rows * row_length, 997)
    index = np.zeros(rows * row_length, np.uint8)
    index[at] = 1 + at % 63
    y = np.zeros(rows * row_length, np.int16)
    y[at] = (at * 7919 % 65 - 32) * np.where(at % 11 == 0, 40, 1)
    tables = gaussian_tables()
    shape = (rows, 1, row_length)
    symbols = Symbols(np.zeros((1, 1, 1), np.int16), y.reshape(shape), np.zeros(1, np.uint8), index.reshape(shape))
    section = symbols.pack(tables)[1]
    page.decode(b"")  # a page with the modules
    code = """const { Tables } = await import("./rans.js"), { decodeY, symbolsCrc } = await import("./symbols.js");
      const [section, rows, length, ...parts] = given, index = new Uint8Array(rows * length);
      for (let i = 0; i < index.length; i += 997) index[i] = 1 + (i % 63);
      const tables = new Tables(...parts.map((part) => Int32Array.from(part)));
      const bytes = Uint8Array.from(atob(section), (char) => char.charCodeAt(0));
      return symbolsCrc(new Int16Array(0), decodeY(bytes, index, rows, length, tables), index);"""
    parts = [part.tolist() for part in (tables.cdf, tables.size, tables.offset)]
    text = base64.b64encode(section).decode()
    crc = page.script(code, text, rows, row_length, *parts)
    assert crc == zlib.crc32(y[at].astype("<i2").tobytes())


# -- what is refused


def _changed(data: bytes, **fields: Any) -> bytes:
    jlc = parse(data)
    for name, value in fields.items():
        setattr(jlc, name, value)
    return jlc.pack()


def _lossless(payload: bytes | None) -> bytes:
    sections: dict[int, bytes] = {Section.XMP: b""} if payload is None else {Section.LOSSLESS: payload}
    return Jlc(NO_MODEL, 4, 4, 0, 0, Flags.LOSSLESS, sections).pack()


def _damaged(data: bytes) -> dict[str, bytes]:
    jlc: Jlc = parse(data)
    y = jlc.sections[Section.Y]
    flipped = y[:6] + bytes([y[6] ^ 255]) + y[7:]
    return {
        "empty": b"",
        "other": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "cut": data[:-7],
        "short": data[:12],
        "bit": data[:30] + bytes([data[30] ^ 1]) + data[31:],
        "version": data[:4] + b"\x63" + data[5:],
        "flags": _changed(data, flags=64),
        "section": _changed(data, sections={**jlc.sections, 0x44: b"new"}),
        "no y": _changed(data, sections={Section.Z: jlc.sections[Section.Z]}),
        "alpha": _changed(data, sections={**jlc.sections, Section.ALPHA: b"no picture"}),
        "icc": _changed(data, sections={**jlc.sections, Section.ICC: b"no stream"}),
        "excess": _changed(data, sections={**jlc.sections, Section.Y: b"\x03\xff\xff\xff" + y}),
        "symbols": _changed(data, sections={**jlc.sections, Section.Y: flipped}),
        "model": _changed(data, model_id=b"someone "),
        "lossless": _lossless(b"\x2f" + bytes(30)),
        "lossless size": _lossless(pack_lossless(np.zeros((4, 5, 3), np.uint8), None)),
        "no lossless": _lossless(None),
    }


@pytest.mark.parametrize("kind", sorted(_damaged((GOLDEN / "rgb.jlc").read_bytes())))
def test_bad_files_are_refused_as_by_the_command_line(page: Page, golden_codec: Codec, kind: str) -> None:
    data = _damaged((GOLDEN / "rgb.jlc").read_bytes())[kind]
    with pytest.raises(JndcodecError) as error:
        golden_codec.decode(data)
    result = page.decode(data)
    assert result.get("name") == type(error.value).__name__, result
    if result["name"] == "FormatError":
        assert result["message"] == str(error.value)
    if kind == "model":
        assert b"someone ".hex() in result["message"] and "golden" in result["message"]


def test_too_many_pixels_are_refused_before_anything_is_loaded(page: Page) -> None:
    data = _changed((GOLDEN / "rgb.jlc").read_bytes(), width=1 << 20, height=1 << 20)
    assert page.decode(data)["name"] == "LimitError"
    assert page.decode((GOLDEN / "rgb.jlc").read_bytes(), maxPixels=10_000)["name"] == "LimitError"


def test_a_missing_file_is_said(page: Page) -> None:
    page.decode(b"")
    page.driver.get_log("browser")
    result = page.driver.execute_async_script("decode('files/none.jlc').then(arguments[0])")
    assert result == {"name": "InputError", "message": "none.jlc: cannot be fetched (404)"}
    page.driver.get_log("browser")  # the browser itself writes every 404 there
