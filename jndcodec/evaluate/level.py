"""Mean size at one JND: what each codec needs until a mean observer just notices a difference.

Each picture's size is interpolated (log bytes, linear in the score) where its score crosses the level of one JND:
SSIMULACRA2 78.0 for classic codecs and 80.2 for learned ones (`jndcodec.rate.jnd`), CVVDP 9.67 and 9.78 JOD. Means over
different pictures cannot be compared, so a codec whose sweep misses the level on any picture has no mean, by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from statistics import fmean

from jndcodec.evaluate.results import Row
from jndcodec.rate.jnd import CVVDP_ONE_JND, ssimulacra2_from_jnd


@dataclass(frozen=True)
class SizeAtJnd:
    codec: str
    metric: str  # the metric that tells where one JND is
    level: float
    bytes: float | None  # mean over all pictures
    bpp: float | None
    refusal: str | None = None


def level_of_one_jnd(metric: str, learned: bool) -> float:
    return CVVDP_ONE_JND[learned] if metric == "cvvdp" else ssimulacra2_from_jnd(1.0, learned)


def size_at(points: list[tuple[float, float]], level: float) -> float | None:
    """Bytes at which the score reaches `level`, between the two points around it; None if none are.

    points: (bytes, score) in any order. Where the score falls with size, the cheapest crossing counts.
    """
    points = sorted(points)
    for (smaller, low), (larger, high) in zip(points, points[1:], strict=False):
        if low <= level <= high and high > low:
            return exp(log(smaller) + (log(larger) - log(smaller)) * (level - low) / (high - low))
    return None


def sizes_at_one_jnd(rows: list[Row], metric: str) -> list[SizeAtJnd]:
    """One result per codec, in the order of the rows."""
    results = []
    for codec in dict.fromkeys(row.codec for row in rows):
        mine = [row for row in rows if row.codec == codec]
        level = level_of_one_jnd(metric, mine[0].learned)
        sizes, rates, missed = [], [], []
        for picture in dict.fromkeys(row.picture for row in mine):
            of_it = [row for row in mine if row.picture == picture]
            scores = [(row.bytes, row.metrics.get(metric)) for row in of_it]
            size = size_at([(size, score) for size, score in scores if score is not None], level)
            if size is None:
                missed.append(str(picture))
            else:
                sizes.append(size)
                rates.append(8 * size / (of_it[0].width * of_it[0].height))
        if missed:
            named = ", ".join(missed[:3]) + (f" and {len(missed) - 3} more" if len(missed) > 3 else "")
            refusal = f"the sweep of {codec} does not cross {metric} {level:g} on {named}"
            results.append(SizeAtJnd(codec, metric, level, None, None, refusal))
        else:
            results.append(SizeAtJnd(codec, metric, level, fmean(sizes), fmean(rates)))
    return results
