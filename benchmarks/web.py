"""The decoder in a browser: seconds per part in headless Chromium.

    python benchmarks/web.py PICTURE --runtime onnxruntime-web-1.30.0.tgz [--quality 60] [--runs 5] [--chromium-flag …]

The first decode loads the model; of the others, medians. Goals for 768x512 with WebAssembly on two cores: 3 s in all,
of them 0.5 s for the exact stage. Times are the wall's; the last line is what all threads of the browser took of the
processor (Linux), which does not depend on what else runs. --chromium-flag: such as --enable-unsafe-webgpu, where there
is a GPU.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import threading
from pathlib import Path

import click

from jndcodec import encode
from jndcodec.container.jlc import parse
from jndcodec.installed import find_by_id
from jndcodec.web.server import PageServer
from jndcodec.web.site import site_files

DECODE = """
const [source, runs, done] = arguments;
(async () => {
  const { decodeJlc } = await import("./client.js");
  const found = [];
  for (let i = 0; i < runs; i++) found.push((await decodeJlc(source)).facts);
  return found;
})().then(done);
"""


def processor_seconds(root: int) -> float:
    """User and system time of a process and all below it, so far."""
    parents, times = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(path.parent.name)], times[int(path.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {root}
    while grown := {process for process, parent in parents.items() if parent in family} - family:
        family |= grown
    return sum(times.get(process, 0) for process in family) / os.sysconf("SC_CLK_TCK")


@click.command()
@click.argument("picture", type=click.Path(exists=True, path_type=Path))
@click.option("--runtime", type=click.Path(exists=True, path_type=Path), envvar="JNDCODEC_WEB_RUNTIME", required=True)
@click.option("--quality", default=60.0, show_default=True)
@click.option("--runs", default=5, show_default=True)
@click.option("--chromium-flag", "flags", multiple=True)
def main(picture: Path, runtime: Path, quality: float, runs: int, flags: tuple[str, ...]) -> None:
    """Print the first decode's times and the medians of the others."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless", "--no-sandbox", *flags):
        options.add_argument(flag)
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder) / "picture.jlc"
        coded.write_bytes(encode(picture, quality=quality, effort=1))
        info = find_by_id(parse(coded.read_bytes()).model_id)
        assert info
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        with PageServer(site_files(runtime, [info]), {"picture.jlc": coded}) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            driver.set_script_timeout(600)
            driver.get(server.url.partition("?")[0])
            taken, found = [processor_seconds(driver.service.process.pid)], []
            for count in (1, runs):
                found += driver.execute_async_script(DECODE, "picture.jlc", count)
                taken.append(processor_seconds(driver.service.process.pid))
            server.shutdown()
        driver.quit()
    first, *others = (facts["seconds"] for facts in found)
    click.echo(f"{found[0]['width']}x{found[0]['height']}, {found[0]['bytes']} bytes, {found[0]['engine']}")
    click.echo(f"{'':12} {'first':>6} {'median':>6}")
    medians = {part: statistics.median(times[part] for times in others) for part in first}
    for part, median in medians.items():
        click.echo(f"{part:12} {first[part]:6.2f} {median:6.2f} s")
    click.echo(f"{'in all':12} {sum(first.values()):6.2f} {sum(medians.values()):6.2f} s")
    click.echo(f"{'processor':12} {taken[1] - taken[0]:6.2f} {(taken[2] - taken[1]) / runs:6.2f} s")


if __name__ == "__main__":
    main()
