"""Two pictures, or a picture and its coded file: metrics, the estimated JND, and the viewer for just these two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from jndcodec.errors import InputError
from jndcodec.evaluate.metrics import BY_NAME, measure
from jndcodec.evaluate.report import page
from jndcodec.evaluate.results import Row
from jndcodec.evaluate.viewer import data_url, facts, picture
from jndcodec.metrics.external import Metric
from jndcodec.rate.jnd import LAST_JND, UNCERTAINTY, jnd_range

SENSIBLE = 32  # pixels of the shorter side


@dataclass(frozen=True)
class Comparison:
    reference: np.ndarray  # (H, W, 3) uint8
    decoded: np.ndarray
    row: Row

    @property
    def interval(self) -> tuple[float, float]:
        """JND one standard deviation of the map to both sides."""
        return jnd_range(float(self.row.metrics["ssimulacra2"] or 0), self.row.learned)

    def as_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {
            "width": self.row.width,
            "height": self.row.height,
            "bytes": self.row.bytes,
            "bpp": self.row.bpp,
            "jnd": self.row.jnd,
            "jnd_low": low,
            "jnd_high": high,
            "jnd_column": "learned" if self.row.learned else "classic",
            **self.row.metrics,
        }


def read_decoded(path: Path, decode: Callable[[bytes], Any]) -> np.ndarray:
    """RGB of a picture file, a .jxl (with the jxl codec) or a .jlc (with `decode`). (H, W, 3) uint8."""
    from jndcodec.evaluate.codecs import classic_coder
    from jndcodec.images.loading import load_picture

    if path.suffix.lower() == ".jlc":
        return load_picture(decode(path.read_bytes()), None).seen()
    if path.suffix.lower() == ".jxl":
        return classic_coder("jxl").decode(path.read_bytes())
    return load_picture(path).seen()


def compare(
    reference: np.ndarray, decoded: np.ndarray, name: str, size: int, learned: bool, metrics: list[Metric]
) -> Comparison:  # fmt: skip
    """Measure. name: of the decoded file; size: its bytes. InputError when the pictures differ in size."""
    if reference.shape != decoded.shape:
        (h, w, _), (h2, w2, _) = reference.shape, decoded.shape
        raise InputError(f"{name} is {w2}x{h2} and the original {w}x{h} pixels; compare pictures of one size")
    height, width, _ = reference.shape
    row = Row(
        name, width, height, name, learned, 0, size, 8 * size / (width * height), 0, 0,
        measure(reference, decoded, metrics),
    )  # fmt: skip
    return Comparison(reference, decoded, row)


def as_text(comparison: Comparison) -> str:
    """What the terminal shows."""
    row, (low, high) = comparison.row, comparison.interval
    lines = [f"{row.width}x{row.height} pixels, {row.bytes} bytes, {row.bpp:.3f} bpp"]
    for name, value in row.metrics.items():
        shown = "too small for it" if value is None else f"{value:.{BY_NAME[name].digits}f}"
        lines.append(f"{BY_NAME[name].label:<22}{shown}")
    if min(row.width, row.height) < SENSIBLE:
        lines.append(f"a side is below {SENSIBLE} pixels: metrics that look at surroundings say little")
    column = "learned" if row.learned else "classic"
    beyond = ", extrapolated" if row.jnd > LAST_JND else ""
    lines.append(f"{'JND (estimated)':<22}{row.jnd:.2f}  ({low:.2f} to {high:.2f}, map of {column} codecs{beyond})")
    return "\n".join(lines)


def as_page(comparison: Comparison, original_name: str) -> str:
    """The viewer for this pair. The difference between learned and classic is in the estimate only."""
    row, (low, high) = comparison.row, comparison.interval
    shown = {**facts(row), "src": data_url(comparison.decoded)}
    codecs = [{"label": row.codec, "rates": [shown]}]
    pictures = [picture(original_name, comparison.reference, data_url(comparison.reference), codecs)]
    lead = f"<p>Estimated distance {row.jnd:.2f} JND, {low:.2f} to {high:.2f}.</p><p>{escape(UNCERTAINTY)}</p>"
    return page(f"{original_name} and {row.codec}", lead, pictures, [])
