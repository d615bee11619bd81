"""What the flicker viewer shows: pictures as lossless WebP inside the page, with what is known about each version.

The pixels are those that were measured (our decode of the file), never the browser's own decode of it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from jndcodec.evaluate.codecs import Coder, spread
from jndcodec.evaluate.equal import Wanted, at_sizes
from jndcodec.evaluate.metrics import BY_NAME
from jndcodec.evaluate.results import Row
from jndcodec.evaluate.runner import Source, load_rgb
from jndcodec.workers import map_in_order

LARGEST = 1024  # pixels a side: of larger pictures the centre is shown
JND_SHOWN = (0.2, 3.0)  # rates outside show nothing, or too much


def centre(rgb: np.ndarray, largest: int = LARGEST) -> np.ndarray:
    """At most `largest` x `largest` pixels from the middle."""
    top, left = ((side - min(side, largest)) // 2 for side in rgb.shape[:2])
    return rgb[top : top + largest, left : left + largest]


def data_url(rgb: np.ndarray) -> str:
    """The shown part of a picture as a lossless WebP in a data URL."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(centre(rgb))).save(stream, "WEBP", lossless=True, quality=50, method=3)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def facts(row: Row) -> dict[str, Any]:
    """One rate of one codec for the page, without its pixels."""
    metrics = [
        [BY_NAME[name].label, f"{value:.{BY_NAME[name].digits}f}"]
        for name, value in row.metrics.items()
        if value is not None
    ]
    return {"setting": f"{row.setting:g}", "bytes": row.bytes, "bpp": row.bpp, "jnd": row.jnd, "metrics": metrics}


def picture(name: str, rgb: np.ndarray, original: str, codecs: list[dict[str, Any]]) -> dict[str, Any]:
    """One picture for the page. codecs: {label, rates: [facts + src]}."""
    height, width = rgb.shape[:2]
    shown = min(height, LARGEST), min(width, LARGEST)
    note = "" if shown == (height, width) else f"centre {shown[1]} x {shown[0]} of {width} x {height} pixels"
    return {"name": name, "width": shown[1], "height": shown[0], "note": note, "original": original, "codecs": codecs}


def rates_to_show(rows: list[Row], count: int) -> list[Row]:
    """At most `count` of a codec's rates for one picture, spread over those near the visible threshold."""
    rows = sorted(rows, key=lambda row: row.bytes)
    near = [row for row in rows if JND_SHOWN[0] <= row.jnd <= JND_SHOWN[1]]
    near = near or [min(rows, key=lambda row: abs(row.jnd - 1))]
    return [near[int(i)] for i in spread(tuple(range(len(near))), count)]


def _shown(wanted: Wanted) -> list[dict[str, Any]]:
    """The rates of one codec on one picture for the page. Runs in worker processes."""
    cache = Path(wanted.folder)
    return [
        {**facts(row), "src": data_url(wanted.coder.decode((cache.parent / str(row.file)).read_bytes()))}
        for row in at_sizes(wanted)
    ]


def viewer_data(
    sources: list[Source], coders: list[Coder], rows: list[Row], folder: Path, rates: int, jobs: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The pictures of the viewer from the files of an evaluation in `folder`: the first codec at some of its rates, and
    all others at the same bytes."""
    wanted: list[Wanted] = []
    for source in sources:
        mine = {c.name: [row for row in rows if row.picture == source.name and row.codec == c.name] for c in coders}
        leading = rates_to_show(mine[coders[0].name], rates)
        sizes = tuple(row.bytes for row in leading)
        for coder in coders:
            made = tuple((row.setting, row.bytes) for row in mine[coder.name])
            wanted.append(Wanted(source, coder, sizes, made, tuple(leading[0].metrics), str(folder / "cache")))
    shown: dict[str, list[dict[str, Any]]] = {source.name: [] for source in sources}
    for done, (one, versions) in enumerate(map_in_order(_shown, wanted, jobs), 1):
        shown[one.source.name].append({"label": one.coder.label, "rates": versions})
        progress(done, len(wanted))
    originals = ((source, load_rgb(source.path)) for source in sources)
    return [picture(source.name, rgb, data_url(rgb), shown[source.name]) for source, rgb in originals]


def as_script(pictures: list[dict[str, Any]]) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(pictures).replace("<", "\\u003c")
