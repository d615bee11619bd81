"""The report in headless Chromium: it works from file://, and toggling changes what is on the screen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, chromium, requests, wait

from jndcodec.evaluate.codecs import classic_coder
from jndcodec.evaluate.metrics import ALWAYS, BY_NAME, measure
from jndcodec.evaluate.report import page
from jndcodec.evaluate.results import Row
from jndcodec.evaluate.viewer import data_url, facts, picture

selenium = pytest.importorskip("selenium.webdriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromium-driver")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[selenium.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, photo) -> tuple[Path, list[dict]]:
    """A page with two pictures in two codecs at two rates each."""
    pictures = []
    for seed in range(2):
        rgb, codecs = photo(176, 240, seed=seed), []
        for name, settings in (("jpeg", (30, 90)), ("webp", (30, 90))):
            coder, rates = classic_coder(name), []
            for setting in settings:
                data = coder.encode(rgb, setting)
                values = measure(rgb, coder.decode(data), [BY_NAME[name] for name in ALWAYS])
                bpp = 8 * len(data) / (176 * 240)
                row = Row(f"p{seed}", 240, 176, name, False, setting, len(data), bpp, 0, 0, values)
                rates.append({**facts(row), "src": data_url(coder.decode(data))})
            codecs.append({"label": coder.label, "rates": rates})
        pictures.append(picture(f"p{seed}", rgb, data_url(rgb), codecs))
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page("Report", "<p>About it.</p>", pictures, [("Section", "<p>Text</p>")]), encoding="utf-8")
    return path, pictures


class Viewer:
    """The page as a user sees it."""

    def __init__(self, driver: selenium.Chrome, path: Path) -> None:
        self.driver = driver
        for log in ("browser", "performance"):
            driver.get_log(log)
        driver.get(path.as_uri())
        wait(lambda: self.ready)

    @property
    def ready(self) -> str | None:
        return self.find("stage").get_attribute("data-ready")

    def find(self, name: str):
        return self.driver.find_element("id", name)

    def pixels(self) -> str:
        return self.driver.execute_script("return document.getElementById('canvas').toDataURL()")

    def pixel(self, x: int, y: int) -> list[int]:
        """RGB at a point of the canvas."""
        pen = "document.getElementById('canvas').getContext('2d')"
        return self.driver.execute_script(f"return [...{pen}.getImageData({x}, {y}, 1, 1).data]")[:3]

    def press(self, key: str) -> None:
        self.find("stage").send_keys(key)

    def choose(self, name: str, index: int) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.find(name)).select_by_index(index)


@pytest.fixture
def viewer(browser: selenium.Chrome, shown: tuple[Path, list[dict]]) -> Viewer:
    return Viewer(browser, shown[0])


def test_no_error_on_the_console_and_nothing_from_a_network(viewer: Viewer) -> None:
    viewer.press(" ")
    viewer.press("d")
    assert viewer.driver.get_log("browser") == []
    asked = requests(viewer.driver)
    assert asked and not [address for address in asked if address.startswith("http")]


def test_toggling_by_key_click_and_button_changes_the_pixels(viewer: Viewer) -> None:
    original = viewer.pixels()
    viewer.press(" ")
    decoded = viewer.pixels()
    assert decoded != original
    assert "JPEG" in viewer.find("status").get_attribute("textContent")
    viewer.find("stage").click()
    assert viewer.pixels() == original
    viewer.find("show-decoded").click()
    assert viewer.pixels() == decoded
    assert viewer.find("show-decoded").get_attribute("aria-pressed") == "true"


def test_the_original_is_shown_pixel_by_pixel(viewer: Viewer, photo) -> None:
    rgb = photo(176, 240, seed=0)
    width = viewer.driver.execute_script("return document.getElementById('canvas').width")
    left = (width - 240) // 2
    for x, y in ((0, 0), (239, 0), (120, 88), (5, 175)):
        assert viewer.pixel(left + x, y) == rgb[y, x].tolist()
    viewer.choose("zoom", 2)  # 4:1: the centre pixel becomes a square of 4 x 4
    middle = viewer.driver.execute_script("const c = document.getElementById('canvas'); return [c.width, c.height]")
    found = {tuple(viewer.pixel(middle[0] // 2 + i, middle[1] // 2 + j)) for i in range(4) for j in range(4)}
    assert len(found) == 1 and found <= {tuple(p) for p in rgb.reshape(-1, 3).tolist()}


def test_flicker_alternates_by_itself_and_stops(viewer: Viewer) -> None:
    viewer.choose("speed", 3)
    viewer.press("f")
    seen: set[str] = set()
    wait(lambda: seen.add(viewer.find("badge").text) or len(seen) == 2)
    assert seen == {"Original", "JPEG 4:2:0"}
    viewer.press("f")
    assert viewer.find("flicker").get_attribute("aria-pressed") == "false"
    still = viewer.find("badge").text
    time.sleep(0.4)
    assert viewer.find("badge").text == still


def test_codec_rate_and_picture_are_chosen_with_their_bytes(viewer: Viewer, shown: tuple[Path, list[dict]]) -> None:
    pictures = shown[1]
    viewer.press("c")
    wait(lambda: str(viewer.ready).startswith("0/1/"))
    for rate in (0, 1):
        viewer.choose("rate", rate)
        wait(lambda: viewer.ready == f"0/1/{rate}")  # noqa: B023 - used at once
        expected = pictures[0]["codecs"][1]["rates"][rate]
        assert f"{expected['bytes']:,} bytes" in viewer.find("facts").text
        assert f"{expected['jnd']:.2f} JND" in viewer.find("facts").text
    viewer.press("[")
    wait(lambda: viewer.ready == "0/1/0")
    viewer.find("show-decoded").click()
    before = viewer.pixels()
    viewer.choose("picture", 1)
    wait(lambda: viewer.ready == "1/1/0")
    wait(lambda: viewer.pixels() != before)


def test_any_codec_against_any(viewer: Viewer, shown: tuple[Path, list[dict]], photo) -> None:
    """JPEG against WebP, which takes the place of the original: shown, toggled with, and subtracted."""
    pictures = shown[1]
    jpeg, webp = classic_coder("jpeg"), classic_coder("webp")
    viewer.choose("rate", 1)
    viewer.choose("base", 2)
    wait(lambda: viewer.find("stage").get_attribute("data-against") == "1/false" and viewer.ready == "0/0/1")
    rgb, mine = photo(176, 240, seed=0), pictures[0]["codecs"][0]["rates"][1]["bytes"]
    theirs = min((webp.encode(rgb, setting) for setting in (30, 90)), key=lambda data: abs(np.log(len(data) / mine)))
    assert f"against WebP at {len(theirs):,} bytes" in viewer.find("facts").text
    a, b = webp.decode(theirs), jpeg.decode(jpeg.encode(rgb, 90))
    left = (viewer.driver.execute_script("return document.getElementById('canvas').width") - 240) // 2
    viewer.find("show-original").click()
    assert viewer.find("badge").text == viewer.find("show-original").text == "WebP"
    assert viewer.pixel(left + 120, 88) == a[88, 120].tolist()
    viewer.find("show-difference").click()
    viewer.choose("gain", 0)
    assert viewer.pixel(left + 120, 88) == np.abs(a.astype(int) - b)[88, 120].tolist()


def test_all_codecs_side_by_side_at_equal_bytes(viewer: Viewer, shown: tuple[Path, list[dict]], photo) -> None:
    viewer.press("s")
    wait(lambda: viewer.find("stage").get_attribute("data-against") == "-1/true")
    status = viewer.find("status")
    wait(lambda: status.get_attribute("textContent").startswith("Side by side: Original; JPEG 4:2:0, "))
    assert "; WebP, " in status.get_attribute("textContent")
    room = viewer.driver.execute_script("return document.getElementById('canvas').width")
    rate, rgb = int(str(viewer.ready)[-1]), photo(176, 240, seed=0)
    coder = classic_coder("jpeg")
    decoded = coder.decode(coder.encode(rgb, (30, 90)[rate]))
    wide = room // 3
    for pane, pixels in ((0, rgb), (1, decoded)):
        assert viewer.pixel(pane * wide + (wide - 240) // 2 + 120, 88) == pixels[88, 120].tolist()
    viewer.press("s")
    wait(lambda: viewer.find("stage").get_attribute("data-against") == "-1/false")
    assert viewer.find("badge").is_displayed()


def test_difference_is_the_amplified_difference(viewer: Viewer, photo) -> None:
    rate = int(str(viewer.ready)[-1])
    coder = classic_coder("jpeg")
    rgb = photo(176, 240, seed=0)
    error = np.abs(rgb.astype(int) - coder.decode(coder.encode(rgb, (30, 90)[rate])))
    viewer.find("show-difference").click()
    left = (viewer.driver.execute_script("return document.getElementById('canvas').width") - 240) // 2
    for gain, index in ((1, 0), (8, 2)):
        viewer.choose("gain", index)
        for x, y in ((10, 10), (120, 88), (200, 150)):
            assert viewer.pixel(left + x, y) == np.minimum(255, gain * error[y, x]).tolist()


def test_moving_when_zoomed(viewer: Viewer) -> None:
    viewer.choose("zoom", 4)  # 16:1
    before = viewer.pixels()
    viewer.press("\ue014")  # arrow right
    moved = viewer.pixels()
    assert moved != before
    viewer.press("\ue012")  # arrow left
    assert viewer.pixels() == before
    viewer.press("-")
    assert viewer.find("zoom").get_attribute("value") == "8"


def test_everything_has_a_name_and_is_reached_by_keyboard(viewer: Viewer) -> None:
    controls = viewer.driver.find_elements("css selector", "button, select, #stage, #canvas")
    assert len(controls) > 12
    assert all(control.accessible_name for control in controls)
    reached = set()
    viewer.driver.execute_script("document.activeElement.blur()")
    from selenium.webdriver.common.keys import Keys

    for _ in range(20):
        viewer.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(viewer.driver.switch_to.active_element.get_attribute("id"))
    assert {"picture", "codec", "rate", "stage", "show-original", "flicker", "speed", "zoom", "gain"} <= reached
    assert viewer.find("status").get_attribute("aria-live") == "polite"


def test_light_and_dark(viewer: Viewer) -> None:
    def brightness() -> int:
        colour = viewer.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        return int(colour.split("(")[1].split(",")[0])

    first = brightness()
    viewer.find("theme").click()
    second = brightness()
    assert sorted((first > 128, second > 128)) == [False, True]
