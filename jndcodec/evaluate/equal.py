"""Codings of a picture at the bytes of another codec's, for eyes that compare: found between the sweep's settings."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from jndcodec.evaluate.codecs import Coder
from jndcodec.evaluate.results import Row
from jndcodec.evaluate.runner import Source, Task, run_task

TOLERANCE = 0.02  # share of the bytes that is near enough
TRIALS = 5
CHEAP = ("ssimulacra2",)  # measured on trials, so that they are kept


@dataclass(frozen=True)
class Wanted:
    """A codec's codings of one picture at these sizes in bytes. known: what the sweep made, (setting, bytes)."""

    source: Source
    coder: Coder
    sizes: tuple[float, ...]
    known: tuple[tuple[float, float], ...]
    metrics: tuple[str, ...]
    folder: str  # the cache


def at_sizes(wanted: Wanted) -> list[Row]:
    """A row for each size: the coding nearest to it, one of the sweep where the codec has no settings between."""
    return [_measured(wanted, _setting(wanted, size), wanted.metrics) for size in wanted.sizes]


def _setting(wanted: Wanted, size: float) -> float:
    """The secant rule on log bytes, between the settings whose bytes are next to `size`."""
    made = dict(wanted.known)

    def gap(setting: float) -> float:
        return log(made[setting] / size)

    for _ in range(0 if wanted.coder.discrete else TRIALS):
        below = max((s for s in made if gap(s) <= 0), key=gap, default=None)
        above = min((s for s in made if gap(s) > 0), key=gap, default=None)
        if min(abs(gap(s)) for s in made) <= TOLERANCE or below is None or above is None:
            break
        share = -gap(below) / (gap(above) - gap(below))
        between = round(below + (above - below) * min(max(share, 0.1), 0.9), 1)
        if between in made:
            break
        made[between] = _measured(wanted, between, CHEAP).bytes
    return min(made, key=lambda setting: abs(gap(setting)))


def _measured(wanted: Wanted, setting: float, metrics: tuple[str, ...]) -> Row:
    return run_task(Task(wanted.source, wanted.coder, setting, metrics, wanted.folder))
