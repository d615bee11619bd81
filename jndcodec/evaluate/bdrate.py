"""BD-rate: how many percent more bits one curve needs than another, averaged over the quality that both reach.

G. Bjøntegaard, VCEG-M33 (2001), with Akima interpolation of log-rate over quality (C. Herglotz et al., "The Bjøntegaard
Bible", IEEE TIP 2024), by the authors' package `bjontegaard`. The average is over the overlap of the two quality
ranges, which is stated with every number; where the overlap is too small the number is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from jndcodec.evaluate.metrics import BY_NAME, axis_label, decibels
from jndcodec.evaluate.results import Curve

MIN_OVERLAP = 0.25  # of the quality range that the two curves span together
MIN_POINTS = 4


@dataclass(frozen=True)
class BdRate:
    """The result for one pair and one metric: `percent` over `low`..`high`, or why there is none."""

    anchor: str
    test: str
    metric: str
    percent: float | None
    low: float | None = None  # quality range of the overlap, MS-SSIM in dB
    high: float | None = None
    overlap: float | None = None  # its share of the range that both span together
    refusal: str | None = None
    interval: tuple[float, float] | None = None  # of the percentage: 95 % over pictures (evaluate/bootstrap)


def rising_points(curve: Curve, metric: str) -> list[tuple[float, float]]:
    """(bpp, quality) by rising rate, only where quality beats everything cheaper: what a user of the codec would pick.

    Quality is in the scale of the plots (MS-SSIM in dB), negated for metrics where lower is better.
    """
    sign = 1 if BY_NAME[metric].higher_is_better else -1
    measured = [(b, v) for b, v in zip(curve.bpp, curve.metrics.get(metric, []), strict=False) if v is not None]
    points: list[tuple[float, float]] = []
    for bpp, value in sorted(measured):
        quality = sign * decibels(metric, value)
        if not points or (quality > points[-1][1] and bpp > points[-1][0]):
            points.append((bpp, quality))
    return points


def bd_rate(anchor: Curve, test: Curve, metric: str) -> BdRate:
    """BD-rate of `test` against `anchor` in percent; negative: `test` needs fewer bits."""
    from bjontegaard import bd_rate as bjontegaard

    a, t = rising_points(anchor, metric), rising_points(test, metric)
    label = axis_label(BY_NAME[metric])
    refuse = lambda why: BdRate(anchor.name, test.name, metric, None, refusal=why)  # noqa: E731
    for curve, points in ((anchor, a), (test, t)):
        if not points:
            return refuse(f"{curve.name} has no {label}")
        if len(points) < MIN_POINTS:
            return refuse(f"{curve.name} has {len(points)} rising points in {label}, fewer than {MIN_POINTS}")
    low, high = max(a[0][1], t[0][1]), min(a[-1][1], t[-1][1])
    span = max(a[-1][1], t[-1][1]) - min(a[0][1], t[0][1])
    overlap = max(high - low, 0) / span
    sign = 1 if BY_NAME[metric].higher_is_better else -1
    if overlap < MIN_OVERLAP:
        ranges = " and ".join(
            f"{c.name} ({min(sign * p[0][1], sign * p[-1][1]):.4g} to {max(sign * p[0][1], sign * p[-1][1]):.4g})"
            for c, p in ((anchor, a), (test, t))
        )
        return refuse(f"{ranges} share {overlap:.0%} of their {label} range, less than {MIN_OVERLAP:.0%}")
    percent = bjontegaard(
        [b for b, _ in a], [q for _, q in a], [b for b, _ in t], [q for _, q in t],
        method="akima", require_matching_points=False, min_overlap=0,
    )  # fmt: skip
    low, high = sorted((sign * low, sign * high))
    return BdRate(anchor.name, test.name, metric, float(percent), low, high, overlap)


def against(anchor: Curve, tests: list[Curve], metrics: list[str]) -> list[BdRate]:
    """Every other curve against the anchor, for each metric that it has."""
    return [
        bd_rate(anchor, test, metric)
        for test in tests
        if test.name != anchor.name
        for metric in metrics
        if metric in test.metrics
    ]
