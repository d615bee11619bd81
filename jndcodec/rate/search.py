"""The rate knob that reaches a goal, with as few trial codings as possible.

What one picture gives at a knob is about what pictures give on average at another: an easy picture runs ahead of them,
a hard one behind, by an offset of the knob that changes slowly. So each trial tells the offset, and two trials around
the goal how it changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jndcodec.entropy.scale_network import T_MAX
from jndcodec.weights import ModelInfo

TRIALS = 7
MARGIN = 0.05  # of a bracket, at its ends: the next trial stays away from them
AIM = 0.35  # of the tolerance: what is aimed at over the goal, since trials miss by less than half of it
STUBBORN = 3  # trials that all fell on one side of the goal: the line through them is no guide
USUAL_BPP = (0.1, 2.4)  # of a model that says nothing, at knobs 0 and T_MAX
USUAL_SSIMULACRA2 = (40.0, 90.0)

Trial = tuple[int, float]  # knob and what was measured there


@dataclass(frozen=True)
class Expected:
    """What is measured on average: `values` at `knobs`, both rising, straight lines between them."""

    knobs: np.ndarray
    values: np.ndarray

    @staticmethod
    def ssimulacra2(info: ModelInfo) -> Expected:
        """Of decoded pictures, by the weights' calibration."""
        return _calibrated(info, "ssimulacra2", USUAL_SSIMULACRA2)

    @staticmethod
    def log_bpp(info: ModelInfo) -> Expected:
        """Natural logarithm of bits per pixel, by the weights' calibration."""
        expected = _calibrated(info, "bpp", USUAL_BPP, least=0.0)
        return Expected(expected.knobs, np.log(expected.values))

    def at(self, knob: float) -> float:
        return float(np.interp(knob, self.knobs, self.values))

    def where(self, goal: float) -> int:
        """The knob at which `goal` is expected, the nearer end where it never is."""
        return round(float(np.clip(self.beside(goal), self.knobs[0], self.knobs[-1])))

    def beside(self, value: float) -> float:
        """The same, not rounded, and on along the first and last line for values that are never expected."""
        end = slice(2) if value < self.values[0] else slice(-2, None) if value > self.values[-1] else None
        if end is None:
            return float(np.interp(value, self.values, self.knobs))
        (a, b), (one, two) = self.values[end], self.knobs[end]
        return float(one + (value - a) / (b - a) * (two - one))

    def minus(self, goal: float) -> Expected:
        return Expected(self.knobs, self.values - goal)

    def mirrored(self) -> Expected:
        """Of the negative measure at T_MAX - knob."""
        return Expected(T_MAX - self.knobs[::-1], -self.values[::-1])


def _calibrated(info: ModelInfo, name: str, usual: tuple[float, float], least: float = -math.inf) -> Expected:
    """From the calibration's points; `usual` at both ends where they are missing, fall or are not over `least`."""
    try:
        points = sorted((float(point["t"]) * T_MAX, float(point[name])) for point in info.calibration["points"])
        knobs, values = np.array(points).T
        if len(knobs) > 1 and (np.diff(knobs) > 0).all() and (np.diff(values) > 0).all() and values[0] > least:
            return Expected(knobs, values)
    except (KeyError, TypeError, ValueError):
        pass
    return Expected(np.array([0.0, T_MAX]), np.array(usual))


def search(
    measure: Callable[[int], float],
    goal: float,
    tolerance: float,
    expected: Expected,
    start: int | None = None,
    trials: int = TRIALS,
) -> int:
    """Smallest knob found with measure(knob) >= goal, `measure` rising. -1 where even the largest knob falls short.

    Ends where the goal is exceeded by `tolerance` at most. start: the first knob tried, else where the goal is
    expected. Three or four trials for most pictures, never more than `trials`.
    """
    seen: list[Trial] = []
    knob = expected.where(goal) if start is None else start
    for left in reversed(range(trials)):
        seen.append((knob, measure(knob)))
        low, high = _bracket(seen, goal)
        if (high and (high[1] - goal <= tolerance or high[0] == 0)) or (low and low[0] == T_MAX):
            break
        knob = _next(seen, goal + AIM * tolerance, low, high, expected)
        if left == 1 and not high:
            knob = T_MAX  # the last trial tells whether the goal can be reached at all
        if knob in (trial[0] for trial in seen):
            break
    return high[0] if high else -1


def guess(measure: Callable[[int], float], goal: float, expected: Expected) -> int:
    """Where the goal is expected after a single trial, of a part of the picture perhaps."""
    knob = expected.where(goal)
    return _next([(knob, measure(knob))], goal, None, None, expected)


def _bracket(seen: list[Trial], goal: float) -> tuple[Trial | None, Trial | None]:
    """The trials next to the goal: the largest knob that falls short, the smallest that does not."""
    low = max((trial for trial in seen if trial[1] < goal), default=None)
    return low, min((trial for trial in seen if trial[1] >= goal), default=None)


def _next(seen: list[Trial], goal: float, low: Trial | None, high: Trial | None, expected: Expected) -> int:
    """The knob inside the bracket where the goal is expected: knobs tried and the knobs at which their values are usual
    lie on a line through the trials next to the goal, or the last two, and differ by a constant where there is one."""
    left, right = low[0] if low else 0, high[0] if high else T_MAX
    near = [low, high] if low and high else seen[-2:]
    (one, first), (two, second) = near[0], near[-1]
    repeated = _repeated(seen, goal)
    if low and high:  # the end of the bracket that stays weighs less and less (the Illinois rule)
        weight = 0.5 ** (repeated - 1)
        if seen[-1] == low:
            second = goal + (second - goal) * weight
        else:
            first = goal + (first - goal) * weight
        apart = max(1, MARGIN * (right - left))
    else:
        apart = 1 if repeated < STUBBORN else (right - left) // 3
    here, there, aim = map(expected.beside, (first, second, goal))
    slope = (two - one) / (there - here) if there != here and two != one else 1.0
    knob = one + (aim - here) * slope
    return round(min(max(knob, left + apart if low else left), right - apart if high else right))


def _repeated(seen: list[Trial], goal: float) -> int:
    """How many trials on end, up to the last, fell on its side of the goal."""
    sides = [value < goal for _, value in seen]
    return next((i for i, side in enumerate(reversed(sides)) if side != sides[-1]), len(sides))
