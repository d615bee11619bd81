"""The page of `jndcodec web` in headless Chromium, for tests of what it decodes and of how it is used."""

from __future__ import annotations

import base64
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, chromium, requests, wait
from PIL import Image

from jndcodec.web.server import PageServer
from jndcodec.web.site import site_files
from jndcodec.weights import read_info

selenium = pytest.importorskip("selenium.webdriver")
RUNTIME = os.environ.get("JNDCODEC_WEB_RUNTIME")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER and RUNTIME), reason="needs chromium, chromium-driver and JNDCODEC_WEB_RUNTIME"
)
GOLDEN = Path(__file__).parent / "golden"

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

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Whatever is done with it: nothing goes wrong on the console, and no other host is asked."""
        self.driver.get_log("browser")
        requests(self.driver)
        yield
        assert not [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        asked = [url for url in requests(self.driver) if url.startswith(("http", "ws"))]
        assert not [url for url in asked if not url.startswith(self.root)]


@contextmanager
def open_page(files: Path, profile: Path) -> Iterator[Page]:
    """The page with the golden model. files: a folder for what it decodes and for downloads."""
    site = site_files(Path(str(RUNTIME)), [read_info(GOLDEN / "golden.safetensors")]) | {"tools.html": TOOLS}
    with PageServer(site, {}) as server, chromium(profile, download__default_directory=str(files)) as driver:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver.set_script_timeout(60)
        yield Page(driver, server, files)
        server.shutdown()


def close(decoded: Image.Image, expected: Image.Image) -> None:
    """Equal mode and size, and no sample further away than two levels."""
    assert (decoded.mode, decoded.size) == (expected.mode, expected.size)
    assert np.abs(np.asarray(decoded).astype(int) - np.asarray(expected)).max() <= 2
