"""The decoder in a browser, in headless Chromium: the second, independent reader of docs/FORMAT.md.

Needs chromium with its driver, and ONNX Runtime Web in JNDCODEC_WEB_RUNTIME (see docs/WEB.md); else it is skipped.
"""

from __future__ import annotations

import base64
import io
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, chromium, requests, wait
from PIL import Image, ImageCms

from jndcodec.codec import Codec
from jndcodec.container.jlc import NO_MODEL, Flags, Jlc, Section, parse
from jndcodec.container.lossless import pack_lossless
from jndcodec.entropy.symbols import BAND, Symbols
from jndcodec.entropy.tables import gaussian_tables
from jndcodec.errors import JndcodecError
from jndcodec.web.server import PageServer
from jndcodec.web.site import site_files
from jndcodec.weights import read_info

selenium = pytest.importorskip("selenium.webdriver")
ActionChains, Keys, Select = (
    selenium.ActionChains,
    selenium.Keys,
    pytest.importorskip("selenium.webdriver.support.ui").Select,
)
RUNTIME = os.environ.get("JNDCODEC_WEB_RUNTIME")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER and RUNTIME), reason="needs chromium, chromium-driver and JNDCODEC_WEB_RUNTIME"
)
GOLDEN = Path(__file__).parent / "golden"
P3_PRIMARIES = {  # of Display P3, adapted to D50, in 1/65536 as an ICC profile holds them
    b"rXYZ": (33759, 15807, -69),
    b"gXYZ": (19135, 45367, 2745),
    b"bXYZ": (10296, 4363, 51385),
}

TOOLS = b"""<!doctype html><title>t</title><link rel="icon" href="icon.svg"><body><script type="module">
import { decodeJlc } from "./client.js";
const base64 = async (png) => new Promise((done) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.split(",")[1]);
  reader.readAsDataURL(png);
});
window.decode = (source, options) => decodeJlc(source, options).then(
  async ({ png, facts }) => ({ png: await base64(png), facts }),
  ({ name, message }) => ({ name, message }),
);
window.ready = true;
</script>"""


class Page:
    """A browser, a server of the page with one small model, and files to decode."""

    def __init__(self, driver: selenium.Chrome, server: PageServer, folder: Path) -> None:
        self.driver, self.server, self.folder = driver, server, folder
        self.root = server.url.partition("?")[0]

    def put(self, data: bytes, name: str = "") -> str:
        """Serve a file; its address, relative to the page."""
        path = self.folder / (name or f"{len(self.server.files)}.jlc")
        path.write_bytes(data)
        self.server.files[f"files/{path.name}"] = path
        return f"files/{path.name}"

    def open(self, path: str) -> None:
        self.driver.get(self.root + path)

    def decode(self, data: bytes, **options: Any) -> dict[str, Any]:
        """What decodeJlc answers: {png, facts}, or {name, message} of its error."""
        if not self.driver.current_url.endswith("tools.html"):
            self.open("tools.html")
            wait(lambda: self.driver.execute_script("return window.ready"))
        script = "decode(arguments[0], arguments[1]).then(arguments[2])"
        result = self.driver.execute_async_script(script, self.put(data), options)
        if "png" in result:
            result["image"] = Image.open(io.BytesIO(base64.b64decode(result.pop("png"))))
        return result

    def script(self, code: str, *arguments: Any) -> Any:
        """What an async function with this body returns; `given` holds the arguments."""
        start = "const given = [...arguments], done = given.pop();"
        return self.driver.execute_async_script(f"{start} (async () => {{ {code} }})().then(done)", *arguments)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(weights=GOLDEN / "golden.safetensors", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    downloads = tmp_path_factory.mktemp("files")
    site = site_files(Path(str(RUNTIME)), [read_info(GOLDEN / "golden.safetensors")]) | {"tools.html": TOOLS}
    with (
        PageServer(site, {}) as server,
        chromium(tmp_path_factory.mktemp("profile"), download__default_directory=str(downloads)) as driver,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver.set_script_timeout(60)
        yield Page(driver, server, downloads)
        server.shutdown()


@pytest.fixture
def page(web: Page) -> Iterator[Page]:
    """After each test: nothing went wrong on the console, and no other host was asked."""
    web.driver.get_log("browser")
    requests(web.driver)
    yield web
    assert not [entry for entry in web.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [url for url in requests(web.driver) if url.startswith(("http", "ws")) and not url.startswith(web.root)]


def close(decoded: Image.Image, expected: Image.Image) -> None:
    """Equal mode and size, and no sample further away than two levels."""
    assert (decoded.mode, decoded.size) == (expected.mode, expected.size)
    assert np.abs(np.asarray(decoded).astype(int) - np.asarray(expected)).max() <= 2


@pytest.fixture(scope="module")
def p3() -> bytes:
    """An ICC profile of Display P3: that of sRGB, which has the same curve, with other primaries."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for entry in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        if values := P3_PRIMARIES.get(bytes(profile[entry : entry + 4])):
            at = int.from_bytes(profile[entry + 4 : entry + 8], "big") + 8
            profile[at : at + 12] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    return bytes(profile)


# -- decoding


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.jlc")))
def test_golden_files(page: Page, codec: Codec, name: str) -> None:
    data = (GOLDEN / f"{name}.jlc").read_bytes()
    result = page.decode(data)
    close(result["image"], codec.decode(data))
    jlc = parse(data)
    facts = result["facts"]
    assert facts["symbolsCrc"] == f"{jlc.symbols_crc:08x}"  # it was compared with the symbols, or there were no picture
    assert facts["sections"] == {Section(kind).name.lower(): len(payload) for kind, payload in jlc.sections.items()}
    assert facts["overhead"] + sum(facts["sections"].values()) == len(data)


def test_windows_join_without_a_seam(page: Page, codec: Codec, photo) -> None:
    """More columns than the synthesis reads at once, and the networks' reach between them."""
    data = codec.encode(Image.fromarray(photo(50, 1300)), quality=90, effort=1)
    close(page.decode(data)["image"], codec.decode(data))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_grey_and_alpha(page: Page, codec: Codec, photo, mode: str) -> None:
    picture = Image.fromarray(photo(40, 70)).convert(mode)
    if "A" in mode:
        picture.putalpha(Image.fromarray(photo(40, 70, 5)[..., 1]))
    data = codec.encode(picture, effort=1)
    result = page.decode(data)
    close(result["image"], codec.decode(data))
    if "A" in mode:
        np.testing.assert_array_equal(result["image"].getchannel("A"), picture.getchannel("A"))


@pytest.mark.parametrize("kind", ["rgb", "alpha", "grey", "clear", "long"])
def test_lossless_files_are_exact(page: Page, codec: Codec, photo, kind: str) -> None:
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
    result, expected = page.decode(data), codec.decode(data)
    image = result["image"]
    assert (image.mode, image.size, image.info.get("icc_profile")) == (
        expected.mode,
        expected.size,
        expected.info.get("icc_profile"),
    )
    seen = np.asarray(expected)[..., -1:] > 0 if alpha is not None else True
    assert (np.asarray(image) * seen == np.asarray(expected) * seen).all()
    assert result["facts"]["lossless"] and result["facts"]["alpha"] == (alpha is not None)


def test_metadata_and_orientation(page: Page, codec: Codec, photo) -> None:
    picture = Image.fromarray(photo(33, 65))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    xmp = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>\u00e9</x:xmpmeta>".encode()
    picture.save(stream, "WEBP", lossless=True, exif=exif, icc_profile=icc, xmp=xmp)
    data = codec.encode(stream.getvalue(), effort=1)
    decoded, expected = page.decode(data)["image"], codec.decode(data)
    close(decoded, expected)
    assert decoded.size == (33, 65)
    assert decoded.info["icc_profile"] == icc
    assert decoded.getexif()[0x010F] == "maker" and decoded.getexif()[0x0112] == 1
    assert decoded.info["XML:com.adobe.xmp"].encode() == expected.info["xmp"]


def test_a_wide_profile_moves_the_colours_on_the_screen(page: Page, codec: Codec, p3: bytes) -> None:
    """The browser shows Display P3 as what it is: its red is beyond sRGB's."""
    picture = Image.new("RGB", (32, 32), (180, 90, 60))
    stream = io.BytesIO()
    picture.save(stream, "PNG", icc_profile=p3)
    data = codec.encode(stream.getvalue(), quality=100, effort=1)
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
def test_bad_files_are_refused_as_by_the_command_line(page: Page, codec: Codec, kind: str) -> None:
    data = _damaged((GOLDEN / "rgb.jlc").read_bytes())[kind]
    with pytest.raises(JndcodecError) as error:
        codec.decode(data)
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


# -- the page and the element


def test_three_elements_on_a_page(page: Page) -> None:
    good = page.put((GOLDEN / "rgb.jlc").read_bytes(), "rgb.jlc")
    bad = page.put(b"nothing", "bad.jlc")
    page.server.site["three.html"] = (
        '<!doctype html><title>t</title><link rel="icon" href="icon.svg">'
        '<script type="module" src="jlc-image.js"></script>'
        f'<jlc-image src="{good}" alt="Hills"></jlc-image><jlc-image src="{bad}" alt="Lake"></jlc-image>'
        f'<jlc-image src="{good}" alt="Again" style="width: 75px"></jlc-image>'
    ).encode()
    page.open("three.html")
    state = """return [...document.querySelectorAll("jlc-image")].map((element) => {
      const image = element.shadowRoot.querySelector("img"), text = element.shadowRoot.querySelector("[part=status]");
      return [image.naturalWidth, image.width, image.alt, text.textContent, element.hasAttribute("busy")];
    })"""
    wait(lambda: not any(busy for *_, busy in page.driver.execute_script(state)), 30)
    first, second, third = page.driver.execute_script(state)
    assert first == [150, 150, "Hills", "", False]
    assert second[0] == 0 and second[3].startswith("Lake (not a .jlc file")
    assert third == [150, 75, "Again", "", False]


class Viewer:
    def __init__(self, page: Page, *sources: str) -> None:
        self.driver = page.driver
        page.open("?" + "&".join(f"src={source}" for source in sources))

    def find(self, name: str):
        return self.driver.find_element("id", name)

    def ready(self) -> str | None:
        return self.find("stage").get_attribute("data-ready")

    def press(self, key: str) -> None:
        selenium.ActionChains(self.driver).send_keys(key).perform()


def test_the_viewer_shows_zooms_and_saves(page: Page, codec: Codec, tmp_path: Path) -> None:
    data = (GOLDEN / "rgb.jlc").read_bytes()
    viewer = Viewer(page, page.put(data, "first.jlc"), page.put((GOLDEN / "low.jlc").read_bytes(), "second.jlc"))
    wait(lambda: viewer.ready() == "first.jlc", 30)
    picture = viewer.find("picture")
    assert picture.get_attribute("alt") == "first.jlc" and "decoded in" in viewer.find("status").text
    facts = viewer.find("facts").text
    assert "150 × 100, RGB" in facts and "golden" in facts
    sections = {row.text.split()[0]: row.text.split()[1] for row in viewer.driver.find_elements("css selector", "tr")}
    for name, kind in (("z", Section.Z), ("y", Section.Y)):
        assert sections[name] == f"{len(parse(data).sections[kind]):,}"
    for key, width, shown in (("1", 150, "100 %"), ("+", 300, "200 %"), ("-", 150, "100 %"), ("f", 150, "fit")):
        viewer.press(key)
        assert (picture.size["width"], viewer.find("zoom").text) == (width, shown)
    assert viewer.find("fit").get_attribute("aria-pressed") == "true"
    viewer.find("save").click()
    saved = page.folder / "first.png"
    wait(saved.exists)
    close(Image.open(saved), codec.decode(data))
    Select(viewer.find("files")).select_by_index(1)
    wait(lambda: viewer.ready() == "second.jlc", 30)
    assert "64 × 64" in viewer.find("facts").text


def test_the_viewer_takes_files_of_the_user(page: Page, tmp_path: Path) -> None:
    viewer = Viewer(page)
    assert viewer.find("hint").is_displayed()
    viewer.find("file").send_keys(str(GOLDEN / "rgb.jlc"))
    wait(lambda: viewer.ready() == "rgb.jlc", 30)
    bad = tmp_path / "bad.jlc"
    bad.write_bytes((GOLDEN / "rgb.jlc").read_bytes()[:-1])
    viewer.find("file").send_keys(str(bad))
    wait(lambda: viewer.ready() == "FormatError")
    assert viewer.find("status").text.startswith("bad.jlc: damaged .jlc file: its checksum is wrong")
    assert not viewer.find("picture").is_displayed()
    drop = """const transfer = new DataTransfer();
      transfer.items.add(new File([await (await fetch(given[0])).arrayBuffer()], "dropped.jlc"));
      document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));"""
    page.script(drop, page.put((GOLDEN / "low.jlc").read_bytes()))
    wait(lambda: viewer.ready() == "dropped.jlc", 30)
    assert viewer.find("picture").is_displayed()


def test_everything_is_named_and_reached_by_keyboard(page: Page) -> None:
    sources = [page.put((GOLDEN / f"{name}.jlc").read_bytes(), f"{name}.jlc") for name in ("low", "rgb")]
    viewer = Viewer(page, *sources)
    wait(lambda: viewer.ready() == "low.jlc", 30)
    controls = viewer.driver.find_elements("css selector", "button, select, input, a, #stage")
    assert len(controls) == 8 and all(control.accessible_name for control in controls)
    reached = set()
    for _ in range(len(controls) + 1):
        viewer.press(selenium.Keys.TAB)
        reached.add(viewer.driver.switch_to.active_element.get_attribute("id"))
    assert {"file", "files", "fit", "original", "smaller", "larger", "save", "stage"} <= reached
    assert viewer.find("status").get_attribute("aria-live") == "polite"
