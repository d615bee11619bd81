"""Rows of measurements, their means, and the files they are kept in."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import Any

from jndcodec.output import writing
from jndcodec.rate.jnd import jnd_from_ssimulacra2


@dataclass
class Row:
    """One picture through one codec at one setting; with `picture` None the mean over pictures."""

    picture: str | None
    width: int
    height: int
    codec: str
    learned: bool
    setting: float
    bytes: float
    bpp: float  # bits per pixel of the whole file
    encode_s: float
    decode_s: float
    metrics: dict[str, float | None] = field(default_factory=dict)
    file: str | None = None  # the coded picture, relative to the output folder

    @property
    def jnd(self) -> float:
        score = self.metrics["ssimulacra2"]
        assert score is not None  # it measures every picture
        return jnd_from_ssimulacra2(score, self.learned)


@dataclass
class Curve:
    """A codec's means over all pictures, by rising bpp."""

    name: str
    label: str
    bpp: list[float]
    metrics: dict[str, list[float | None]]
    learned: bool = False
    published: bool = False


def mean_rows(rows: list[Row]) -> list[Row]:
    """The mean over pictures for each codec and setting, in the order of the rows.

    bpp is the mean of the pictures' bpp (as CompressAI does), not all bytes over all pixels. A metric that was not
    measured on every picture (too small for it) has no mean.
    """
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.codec, row.setting), []).append(row)
    means = []
    for (codec, setting), group in groups.items():
        means.append(
            Row(
                None, 0, 0, codec, group[0].learned, setting,
                bytes=fmean(row.bytes for row in group),
                bpp=fmean(row.bpp for row in group),
                encode_s=fmean(row.encode_s for row in group),
                decode_s=fmean(row.decode_s for row in group),
                metrics={name: _mean([row.metrics.get(name) for row in group]) for name in group[0].metrics},
            )
        )  # fmt: skip
    return means


def _mean(values: list[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return fmean(measured) if len(measured) == len(values) else None


def curves(means: list[Row], labels: dict[str, str]) -> list[Curve]:
    """One curve per codec from its mean rows. labels: codec -> how plots call it."""
    made = []
    for codec, label in labels.items():
        points = sorted((row for row in means if row.codec == codec), key=lambda row: row.bpp)
        if points:
            metrics = {name: [row.metrics[name] for row in points] for name in points[0].metrics}
            made.append(Curve(codec, label, [row.bpp for row in points], metrics, points[0].learned))
    return made


def write_whole(path: Path, data: str | bytes) -> None:
    """Write (over) a whole file or none: other processes and a broken run never see a part of it."""
    with writing(path, force=True) as stream:
        stream.write(data.encode() if isinstance(data, str) else data)


def write_csv(path: Path, rows: list[Row]) -> None:
    """A line per row; means carry `(mean)` as their picture."""
    names = list(rows[0].metrics) if rows else []
    text = StringIO(newline="")
    writer = csv.writer(text)
    head = ["picture", "width", "height", "codec", "setting", "bytes", "bpp", "encode_s", "decode_s", "jnd"]
    writer.writerow([*head, *names, "file"])
    for row in rows:
        size = [row.width, row.height] if row.picture else ["", ""]
        numbers = [f"{value:.6g}" for value in (row.bpp, row.encode_s, row.decode_s, row.jnd)]
        values = ["" if row.metrics[name] is None else f"{row.metrics[name]:.7g}" for name in names]
        fixed = [row.picture or "(mean)", *size, row.codec, f"{row.setting:g}", f"{row.bytes:g}"]
        writer.writerow([*fixed, *numbers, *values, row.file or ""])
    write_whole(path, text.getvalue())


def rows_as_json(rows: list[Row]) -> list[dict[str, Any]]:
    return [{**asdict(row), "jnd": row.jnd} for row in rows]


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
