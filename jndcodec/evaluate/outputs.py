"""From rows to what people read: results.csv, results.json, plots, report.html, and the summary for the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from jndcodec import __version__
from jndcodec.evaluate.bdrate import MIN_OVERLAP, BdRate, against
from jndcodec.evaluate.bootstrap import COVERED, DRAWS, MIN_PICTURES, with_intervals
from jndcodec.evaluate.codecs import Coder
from jndcodec.evaluate.level import SizeAtJnd, sizes_at_one_jnd
from jndcodec.evaluate.metrics import BY_NAME, axis_label
from jndcodec.evaluate.plots import bars_figure, inline_svg, rd_figure, save
from jndcodec.evaluate.published import is_kodak, published_curves
from jndcodec.evaluate.published import source as published_source
from jndcodec.evaluate.report import Plot, page, plots_html, table_html
from jndcodec.evaluate.results import (
    Curve,
    Row,
    curves,
    mean_rows,
    rows_as_json,
    write_csv,
    write_json,
    write_whole,
)
from jndcodec.evaluate.runner import Source
from jndcodec.evaluate.table import Table, means_table, rates_table, sizes_table
from jndcodec.evaluate.viewer import viewer_data
from jndcodec.rate.jnd import UNCERTAINTY

ANCHORS = ("avif", "jpeg")  # first choice first; else the first codec
JND_METRICS = ("ssimulacra2", "cvvdp")  # those whose value at one JND is known


def write_outputs(
    folder: Path, sources: list[Source], coders: list[Coder], rows: list[Row], metrics: list[str],
    skipped: dict[str, str], anchor: str | None, viewed: int, rates: int, jobs: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Table]:  # fmt: skip
    """Write everything into `folder`; returns the tables for the terminal. skipped: metric -> what is missing for it.

    anchor: codec that BD-rates are against. viewed, rates: pictures in the viewer, and rates per codec.
    """
    labels = {coder.name: coder.label for coder in coders}
    anchor = anchor or next((name for name in ANCHORS if name in labels), coders[0].name)
    means = mean_rows(rows)
    measured = curves(means, labels)
    published = references(sources)
    bd = with_intervals(_bd_rates(measured + published, anchor, metrics), rows)
    sizes = [size for metric in JND_METRICS if metric in metrics for size in sizes_at_one_jnd(rows, metric)]
    tables = [sizes_table(rows, labels, sizes), rates_table(labels, bd, anchor)]

    write_csv(folder / "results.csv", rows + means)
    write_json(folder / "results.json", _as_json(sources, coders, rows, means, bd, sizes, metrics, skipped, published))
    plots = _plots(folder / "plots", measured + published, labels, sizes, metrics)
    pictures = viewer_data(sources[:viewed], coders, rows, folder, rates, jobs, progress)
    sections = [
        ("Summary", "".join(table_html(table) for table in tables)),
        ("Plots", plots_html(plots)),
        ("Details", _folded("BD-rates with their overlaps", _bd_table(bd, labels))),
        ("", _folded("Means at every setting", means_table(means, labels))),
    ]
    lead = _lead(len(sources), coders, skipped, bool(published))
    write_whole(folder / "report.html", page("jndcodec evaluation", lead, pictures, sections))
    return tables


def references(sources: list[Source]) -> list[Curve]:
    """The published curves, if these are the pictures that they are about."""
    on_kodak = is_kodak([s.name for s in sources], [(s.width, s.height) for s in sources])
    return published_curves() if on_kodak else []


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _bd_rates(all_curves: list[Curve], anchor: str, metrics: list[str]) -> list[BdRate]:
    base = next(curve for curve in all_curves if curve.name == anchor)
    return against(base, all_curves, metrics)


def _plots(
    folder: Path, all_curves: list[Curve], labels: dict[str, str], sizes: list[SizeAtJnd], metrics: list[str]
) -> list[Plot]:
    folder.mkdir(exist_ok=True)
    plots = []
    for metric in metrics:
        if not any(v is not None for curve in all_curves for v in curve.metrics.get(metric, [])):
            continue
        figure = rd_figure(all_curves, metric)
        save(figure, folder / f"rd_{metric}")
        name = axis_label(BY_NAME[metric])
        better = "" if BY_NAME[metric].higher_is_better else "; the axis is turned so that better is up"
        plots.append(Plot(inline_svg(figure, f"rd-{metric}", f"{name} over bits per pixel"), name + better))
    for metric in JND_METRICS:
        chosen = [size for size in sizes if size.metric == metric]
        if not any(size.bytes for size in chosen):
            continue
        figure = bars_figure(chosen, labels, {c.name for c in all_curves if c.learned})
        save(figure, folder / f"one_jnd_{metric}")
        levels = _levels(chosen, all_curves)
        at = ", ".join(f"{'learned' if learned else 'classic'} codecs at {level:g}" for learned, level in levels)
        title = f"Mean size at one JND by {BY_NAME[metric].label}: {at}"
        plots.append(Plot(inline_svg(figure, f"jnd-{metric}", title), title))
    return plots


def _levels(sizes: list[SizeAtJnd], all_curves: list[Curve]) -> list[tuple[bool, float]]:
    learned = {curve.name: curve.learned for curve in all_curves}
    return sorted({(learned[size.codec], size.level) for size in sizes})


def _folded(name: str, table: Table) -> str:
    return f"<details><summary>{escape(name)}</summary>{table_html(table)}</details>"


def _bd_table(bd: list[BdRate], labels: dict[str, str]) -> Table:
    lines = [
        [
            labels.get(r.test, f"{r.test} (published)"),
            axis_label(BY_NAME[r.metric]),
            "–" if r.percent is None else f"{r.percent:+.1f} %",
            "–" if r.interval is None else "{:+.1f} to {:+.1f} %".format(*r.interval),
            "–" if r.low is None else f"{r.low:.4g} to {r.high:.4g}",
            "–" if r.overlap is None else f"{r.overlap:.0%}",
        ]
        for r in bd
    ]
    caption = (
        f"Akima interpolation; interval: {COVERED:.0%} of {DRAWS} draws of other pictures from these, from "
        f"{MIN_PICTURES} on; overlap: its share of the range that both curves span, at least {MIN_OVERLAP:.0%}"
    )
    head = ["codec", "metric", "BD-rate", "interval", "over", "overlap"]
    return Table(caption, head, lines, [r.refusal for r in bd if r.refusal])


def _lead(count: int, coders: list[Coder], skipped: dict[str, str], published: bool) -> str:
    lines = [
        f"{_pictures(count)}, {len(coders)} codecs, real files and real decodes. jndcodec {__version__}. "
        "Seconds are those of this machine under the load of this run."
    ]
    lines.append(UNCERTAINTY)
    if published:
        lines.append(f"Curves marked published were not measured here: {published_source()}.")
    if skipped:
        lines.append("Not measured: " + "; ".join(f"{name} (needs {why})" for name, why in skipped.items()) + ".")
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _as_json(
    sources: list[Source], coders: list[Coder], rows: list[Row], means: list[Row], bd: list[BdRate],
    sizes: list[SizeAtJnd], metrics: list[str], skipped: dict[str, str], published: list[Curve],
) -> dict[str, Any]:  # fmt: skip
    return {
        "jndcodec": __version__,
        "pictures": [asdict(source) for source in sources],
        "codecs": [{"name": c.name, "label": c.label, "version": c.version, "learned": c.learned} for c in coders],
        "metrics": {name: BY_NAME[name].label for name in metrics},
        "not_measured": skipped,
        "rows": rows_as_json(rows),
        "means": rows_as_json(means),
        "bd_rate": [asdict(rate) for rate in bd],
        "size_at_one_jnd": [asdict(size) for size in sizes],
        "published": [asdict(curve) for curve in published],
        "jnd": UNCERTAINTY,
    }
