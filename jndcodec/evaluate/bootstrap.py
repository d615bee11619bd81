"""How far a BD-rate would move on other pictures of the same kind: the bootstrap over pictures (B. Efron, 1979).

Pictures are drawn again with replacement, the same for both codecs, and the BD-rate is that of the new mean curves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jndcodec.evaluate.bdrate import BdRate, bd_rate
from jndcodec.evaluate.results import Curve, Row

DRAWS = 200
COVERED = 0.95  # of the draws lie inside of the interval
MIN_PICTURES = 5  # fewer say nothing about others
MAX_REFUSED = 0.05  # of the draws


def with_intervals(rates: list[BdRate], rows: list[Row]) -> list[BdRate]:
    """The rates with their intervals, where both codecs were measured here, on enough pictures."""
    pictures = list(dict.fromkeys(row.picture for row in rows))
    if len(pictures) < MIN_PICTURES:
        return rates
    drawn = np.random.default_rng(0).integers(0, len(pictures), (DRAWS, len(pictures)))
    measured = {row.codec for row in rows}
    return [
        replace(rate, interval=_interval(rate, rows, pictures, drawn))
        if rate.percent is not None and {rate.anchor, rate.test} <= measured
        else rate
        for rate in rates
    ]


def _interval(
    rate: BdRate, rows: list[Row], pictures: list[str | None], drawn: np.ndarray
) -> tuple[float, float] | None:
    anchor, test = (_grid(codec, rate.metric, rows, pictures) for codec in (rate.anchor, rate.test))
    found = []
    for chosen in drawn:
        one, other = (_curve(grid[:, :, chosen].mean(2), rate.metric) for grid in (anchor, test))
        percent = bd_rate(one, other, rate.metric).percent
        if percent is not None:
            found.append(percent)
    if len(found) < (1 - MAX_REFUSED) * len(drawn):
        return None
    low, high = np.quantile(found, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return float(low), float(high)


def _grid(codec: str, metric: str, rows: list[Row], pictures: list[str | None]) -> np.ndarray:
    """bpp and metric (2, settings, pictures)."""
    mine = {(row.setting, row.picture): (row.bpp, row.metrics[metric]) for row in rows if row.codec == codec}
    settings = sorted({setting for setting, _ in mine})
    return np.array([[mine[setting, name] for name in pictures] for setting in settings], float).transpose(2, 0, 1)


def _curve(means: np.ndarray, metric: str) -> Curve:
    return Curve("", "", list(means[0]), {metric: list(means[1])})
