"""The summary: what each codec needs, how fast it is, and how it compares with the anchor."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from jndcodec.evaluate.bdrate import BdRate
from jndcodec.evaluate.level import SizeAtJnd
from jndcodec.evaluate.metrics import BY_NAME
from jndcodec.evaluate.results import Row


@dataclass(frozen=True)
class Table:
    """Cells as text; `notes` explain every dash."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def sizes_table(rows: list[Row], labels: dict[str, str], sizes: list[SizeAtJnd]) -> Table:
    """Mean size at one JND by each metric that tells it, and seconds per picture, a row per codec."""
    metrics = list(dict.fromkeys(size.metric for size in sizes))
    found = {(size.codec, size.metric): size for size in sizes}
    lines = []
    for codec, label in labels.items():
        mine = [row for row in rows if row.codec == codec]
        cells = ["–" if (size := found[codec, m]).bytes is None else f"{size.bytes / 1000:.1f}" for m in metrics]
        seconds = [f"{fmean(row.encode_s for row in mine):.2f}", f"{fmean(row.decode_s for row in mine):.2f}"]
        lines.append([label, *cells, *seconds])
    head = ["codec", *(f"kB at 1 JND, {BY_NAME[m].short}" for m in metrics), "encode s", "decode s"]
    return Table("Means over pictures", head, lines, [size.refusal for size in sizes if size.refusal])


def rates_table(labels: dict[str, str], rates: list[BdRate], anchor: str) -> Table:
    """BD-rates against the anchor, a row per codec and a column per metric; published curves have rows of their own."""
    metrics = list(dict.fromkeys(rate.metric for rate in rates))
    found = {(rate.test, rate.metric): rate for rate in rates}
    lines = []
    for codec in dict.fromkeys([*labels, *(rate.test for rate in rates)]):
        if codec != anchor:
            cells = [_percent(found.get((codec, m))) for m in metrics]
            lines.append([labels.get(codec, f"{codec} (published)"), *cells])
    notes = list(dict.fromkeys(f"{BY_NAME[rate.metric].short}: {rate.refusal}" for rate in rates if rate.refusal))
    head = ["codec", *(BY_NAME[m].short for m in metrics)]
    spread = ", with 95 % intervals over pictures" if any(rate.interval for rate in rates) else ""
    return Table(f"BD-rate against {labels.get(anchor, anchor)}{spread}", head, lines, notes)


def _percent(rate: BdRate | None) -> str:
    """-34.1 % (-37 … -31)."""
    if rate is None or rate.percent is None:
        return "–"
    return f"{rate.percent:+.1f} %" + ("" if rate.interval is None else " ({:+.0f} … {:+.0f})".format(*rate.interval))


def means_table(means: list[Row], labels: dict[str, str]) -> Table:
    """A row per codec and setting: the means over all pictures."""
    names = list(means[0].metrics)
    head = ["codec", "setting", "bytes", "bpp", "JND", *(BY_NAME[name].label for name in names), "encode s", "decode s"]
    lines = []
    for row in means:
        values = ["–" if (v := row.metrics[n]) is None else f"{v:.{BY_NAME[n].digits}f}" for n in names]
        seconds = [f"{row.encode_s:.2f}", f"{row.decode_s:.2f}"]
        numbers = [f"{row.setting:g}", f"{row.bytes:.0f}", f"{row.bpp:.3f}", f"{row.jnd:.2f}"]
        lines.append([labels[row.codec], *numbers, *values, *seconds])
    return Table("Means over pictures", head, lines, [])


def print_table(table: Table) -> None:
    """On the terminal, with rich."""
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=None, pad_edge=False)
    for i, name in enumerate(table.head):
        shown.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for line in table.rows:
        shown.add_row(*line)
    console = Console()
    if table.rows and len(table.head) > 1:  # else there was nothing to compare
        console.print(table.caption, style="italic", markup=False, highlight=False)
        console.print(shown)
    for note in table.notes:
        console.print(f"– {note}", markup=False, highlight=False)
