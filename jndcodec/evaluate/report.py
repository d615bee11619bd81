"""One page that needs no network: plots, tables and the flicker viewer, from the files in `web/`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from jndcodec.evaluate.table import Table
from jndcodec.evaluate.viewer import as_script


@dataclass(frozen=True)
class Plot:
    """An inline SVG with its caption."""

    svg: str
    caption: str


def table_html(table: Table) -> str:
    """An accessible table; the first cell of a row names it."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.head)
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, *cells in table.rows
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.caption)}"><table>'
        f"<caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
        + (f"<ul class='notes'>{notes}</ul>" if notes else "")
    )


def page(title: str, lead: str, pictures: list[dict[str, Any]], sections: list[tuple[str, str]]) -> str:
    """The whole page. sections: (heading, HTML) after the viewer; lead: HTML under the title."""
    web = files("jndcodec.evaluate").joinpath("web")
    parts = {
        "title": escape(title),
        "lead": lead,
        "style": web.joinpath("style.css").read_text(encoding="utf-8"),
        "script": web.joinpath("viewer.js").read_text(encoding="utf-8"),
        "viewer": web.joinpath("viewer.html").read_text(encoding="utf-8") if pictures else "",
        "data": as_script(pictures),
        "sections": "".join(
            f"<section>{f'<h2>{escape(name)}</h2>' if name else ''}{html}</section>" for name, html in sections
        ),
    }
    template = web.joinpath("report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def plots_html(plots: list[Plot]) -> str:
    return (
        '<div class="plots">'
        + "".join(f"<figure>{plot.svg}<figcaption>{escape(plot.caption)}</figcaption></figure>" for plot in plots)
        + "</div>"
    )
