"""Rate-distortion curves and bars of mean size at one JND (matplotlib, no window).

Each figure is written as SVG and PNG, and handed to the report as SVG whose text and axes take the page's colour.
"""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from jndcodec.evaluate.level import SizeAtJnd
from jndcodec.evaluate.metrics import BY_NAME, axis_label, decibels
from jndcodec.evaluate.results import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Readable on white and on near-black; every series has a marker of its own too.
COLOURS = ("#2f7ed8", "#d9622b", "#2a9d5c", "#b45fc4", "#b08900", "#12a0b5", "#d8476a", "#8a8f98")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PUBLISHED = "#8a8f98"
INK = "#010203"  # stands for the colour of the page's text
WIDEST_BPP = 3.0  # beyond, nothing happens that a reader looks for


def _figure(width: float, height: float) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "jndcodec", "font.size": 10, "font.family": "sans-serif"}
    )
    for key in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"):
        matplotlib.rcParams[key] = INK
    return Figure(figsize=(width, height), layout="constrained")


def _style(names: list[str], name: str, learned: bool) -> dict:
    i = names.index(name)
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": MARKERS[i % len(MARKERS)],
        "markersize": 4.5,
        "linewidth": 2.4 if learned else 1.5,
        "zorder": 3 if learned else 2,
    }


def rd_figure(curves: list[Curve], metric: str) -> Figure:
    """Mean quality over mean bpp; measured curves in colour, published ones grey and dashed."""
    figure = _figure(7, 4.6)
    axes = figure.add_subplot()
    measured = [c.name for c in curves if not c.published]
    dashes, right, shown = iter(("--", ":", "-.", (0, (5, 1, 1, 1)))), 0.0, []
    for curve in curves:
        points = [
            (b, decibels(metric, v))
            for b, v in zip(curve.bpp, curve.metrics.get(metric) or [None] * len(curve.bpp), strict=True)
            if v is not None and b <= WIDEST_BPP
        ]
        if not points:
            continue
        style = (
            {"color": PUBLISHED, "linestyle": next(dashes, "--"), "linewidth": 1.3}
            if curve.published
            else _style(measured, curve.name, curve.learned)
        )
        axes.plot(*zip(*points, strict=True), label=curve.label, **style)
        right = max(right, points[-1][0])
        shown += [value for _, value in points]
    axes.set(xlabel="bits per pixel", ylabel=axis_label(BY_NAME[metric]), xlim=(0, right * 1.03 or 1))
    if not BY_NAME[metric].higher_is_better:
        axes.invert_yaxis()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if shown:
        axes.legend(frameon=False, fontsize=9)
    return figure


def bars_figure(sizes: list[SizeAtJnd], labels: dict[str, str], learned: set[str]) -> Figure:
    """Mean size at one JND, smallest on top; codecs whose sweep misses it are left out (the report names them)."""
    found = [(s.bytes, s.bpp, s) for s in sizes if s.bytes is not None and s.bpp is not None]
    found.sort(key=lambda entry: entry[0], reverse=True)
    figure = _figure(7, 0.9 + 0.42 * max(len(found), 1))
    axes = figure.add_subplot()
    names = list(labels)
    bars = axes.barh(
        [labels[s.codec] for *_, s in found],
        [size / 1000 for size, *_ in found],
        color=[COLOURS[names.index(s.codec) % len(COLOURS)] for *_, s in found],
        height=0.62,
    )
    texts = [f"{size / 1000:.1f} kB, {bpp:.2f} bpp, at {s.level:g}" for size, bpp, s in found]
    axes.bar_label(bars, texts, padding=4, fontsize=9)
    for tick, (*_, s) in zip(axes.get_yticklabels(), found, strict=True):
        tick.set_fontweight("bold" if s.codec in learned else "normal")
    metric = BY_NAME[sizes[0].metric].label
    axes.set(xlabel=f"mean kB per picture at one JND, by {metric}", xlim=(0, 1.45 * found[0][0] / 1000))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write path.svg and path.png on white."""
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None}, facecolor="white")
    figure.savefig(path.with_suffix(".png"), dpi=160, facecolor="white")


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """The figure for a page: no background, text and axes in the page's colour, ids of its own, `title` read aloud."""
    stream = StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
