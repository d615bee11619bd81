"""SSIMULACRA2 to just noticeable differences (JND), and back.

The map goes through points measured on the sample data of JPEG AIC-4 (5 source pictures x 6 codecs x 10 levels with
their subjective JND values): the SSIMULACRA2 score (version 2.1) at a given JND distance from the original, one
column for the classic codecs and one for the learned one (JPEG AI). Metrics flatter learned codecs, so the same score
means more visible loss there: 80.2 is one JND for a learned codec, 78.0 for a classic one.

Spread: at one JND the score has a standard deviation of 3.6 points (classic codecs; assumed for the learned one too),
some 0.35 JND either way; `jnd_range` turns it into an interval. Limits: five pictures; one learned codec; the
displays, viewing distance and observers of that study; measured from 0.12 (learned: 0.25) to 2.0 JND. Above the best
point the map is the line to (100, 0); beyond 2 JND it goes on with its last slope, which is a guess. It says what a
mean observer sees on a mean picture, never that nobody will see a difference in this one.

Between the points the map is piecewise linear: strictly falling, so that both directions invert each other exactly.
"""

from __future__ import annotations

from bisect import bisect_left
from math import isfinite

from jndcodec.errors import TargetError

NOTICEABLE = 1.0  # half of the observers notice a difference
STRICT = 0.5
FLICKER = 0.25  # hardly visible when toggled in place

SPREAD = 3.6  # standard deviation of SSIMULACRA2 over pictures and codecs at 1 JND

# (JND, SSIMULACRA2), JND rising and score falling
CLASSIC = ((0.0, 100.0), (0.12, 90.0), (0.25, 86.4), (0.5, 83.0), (1.0, 78.0), (1.5, 72.7), (2.0, 67.8))
LEARNED = ((0.0, 100.0), (0.25, 85.4), (0.5, 83.1), (1.0, 80.2), (1.5, 74.3), (2.0, 68.1))

LAST_JND = 2.0  # where the measured points end

# ColorVideoVDP in JOD at one JND, learned codecs or not; on its display standard_fhd, where Kodak pictures at the
# SSIMULACRA2 of one JND have about these values (on standard_4k they have 9.93)
CVVDP_ONE_JND = {False: 9.67, True: 9.78}

UNCERTAINTY = (
    "JND is estimated from SSIMULACRA2 with the JPEG AIC-4 sample data (5 pictures, 6 codecs, 0.12-2 JND); "
    f"the score at 1 JND has a standard deviation of {SPREAD}, some 0.35 JND. Beyond 2 JND it is extrapolated."
)


def _line(xs: list[float], ys: list[float], x: float) -> float:
    """Piecewise linear through (xs, ys), xs rising; outside, the first and last segments go on."""
    i = min(max(bisect_left(xs, x), 1), len(xs) - 1)
    return ys[i - 1] + (ys[i] - ys[i - 1]) * (x - xs[i - 1]) / (xs[i] - xs[i - 1])


def jnd_from_ssimulacra2(score: float, learned: bool = True) -> float:
    """JND distance for a SSIMULACRA2 score (100: identical; may be negative); 0 at 100, never below.

    `learned` picks the column of learned codecs (ours), otherwise that of classic ones.
    """
    if not isfinite(score):
        raise TargetError(f"a SSIMULACRA2 score is a finite number up to 100, not {score}")
    points = (LEARNED if learned else CLASSIC)[::-1]
    return _line([s for _, s in points], [j for j, _ in points], min(score, 100.0))


def ssimulacra2_from_jnd(jnd: float, learned: bool = True) -> float:
    """SSIMULACRA2 score at a JND distance: the inverse of `jnd_from_ssimulacra2`. TargetError below 0 or not finite."""
    if not (isfinite(jnd) and jnd >= 0):
        raise TargetError(f"a JND distance is a number from 0 (identical) upwards, not {jnd}")
    points = LEARNED if learned else CLASSIC
    return _line([j for j, _ in points], [s for _, s in points], jnd)


def jnd_range(score: float, learned: bool = True) -> tuple[float, float]:
    """The JND distances one standard deviation (`SPREAD`) above and below the score: (lower, higher)."""
    return jnd_from_ssimulacra2(score + SPREAD, learned), jnd_from_ssimulacra2(score - SPREAD, learned)
