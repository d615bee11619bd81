"""The page and its element, in headless Chromium, as a user meets them: by mouse and by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import wait
from PIL import Image
from web_page import GOLDEN, Page, close, needs_browser, selenium

from jndcodec.codec import Codec
from jndcodec.container.jlc import Section, parse

Select = pytest.importorskip("selenium.webdriver.support.ui").Select
pytestmark = needs_browser


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


def test_the_viewer_shows_zooms_and_saves(page: Page, golden_codec: Codec, tmp_path: Path) -> None:
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
    close(Image.open(saved), golden_codec.decode(data))
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
