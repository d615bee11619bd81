"""From what the user wants (JND, bpp, bytes) to the rate knob, by trial coding.

Small pictures are tried whole; above SAMPLE_ABOVE pixels a fixed sample of tiles stands for the picture, so that the
search costs seconds whatever the size. A byte budget is checked on the real file in the end and never exceeded.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from jndcodec.entropy.scale_network import T_MAX
from jndcodec.errors import TargetError
from jndcodec.jnd import jnd_from_ssimulacra2, ssimulacra2_from_jnd
from jndcodec.model.interface import Model

TRIALS = 7
SAMPLE_ABOVE = 2_000_000  # pixels
SAMPLE_TILE = 512  # pixels on a side
SAMPLE_TILES = 6
SCORE_TOLERANCE = 0.2  # SSIMULACRA2 points; its spread at one JND is 3.6
BYTES_TOLERANCE = 0.005  # share of the budget that may be left


def sample(rgb: np.ndarray) -> np.ndarray:
    """The picture itself, or tiles of it on a fixed lattice, stacked to one picture (6 * 512, 512, 3)."""
    height, width = rgb.shape[:2]
    if height * width <= SAMPLE_ABOVE or min(height, width) < SAMPLE_TILE:
        return rgb[: max(1, SAMPLE_ABOVE // width)] if height * width > SAMPLE_ABOVE else rgb
    columns = 3 if width >= height else 2
    rows = SAMPLE_TILES // columns
    tops = np.linspace(0, height - SAMPLE_TILE, 2 * rows + 1).astype(int)[1::2]
    lefts = np.linspace(0, width - SAMPLE_TILE, 2 * columns + 1).astype(int)[1::2]
    return np.concatenate([rgb[y : y + SAMPLE_TILE, x : x + SAMPLE_TILE] for y in tops for x in lefts])


def search(measure: Callable[[int], float], goal: float, tolerance: float, start: float, trials: int = TRIALS) -> int:
    """Smallest knob found with measure(knob) >= goal, `measure` rising. -1 where even the largest knob falls short.

    Regula falsi inside a bracket, from the guess `start` (0 … 1): about four trials, never more than `trials`.
    """
    low, high = (0, None), (T_MAX, None)
    best, knob = -1, round(min(max(start, 0.02), 0.98) * T_MAX)
    for _ in range(trials):
        value = measure(knob)
        if value >= goal:
            best, high = knob, (knob, value)
            if value - goal <= tolerance or knob == 0:
                break
        else:
            low = (knob, value)
            if knob == T_MAX:
                break
        knob = _next(low, high, goal + tolerance / 2)
        if knob in (low[0], high[0]) and None not in (low[1], high[1]):
            break
    if best < 0 and high[1] is None and low[0] < T_MAX and measure(T_MAX) >= goal:
        best = T_MAX
    return best


def _next(low: tuple[int, float | None], high: tuple[int, float | None], goal: float) -> int:
    (a, fa), (b, fb) = low, high
    if fa is None:  # nothing below the goal was seen yet: go down, in the end to the very bottom
        return max(0, b - T_MAX // 5)
    if fb is None:
        return min(T_MAX, a + T_MAX // 5)
    share = (goal - fa) / (fb - fa) if fb > fa else 0.5
    return round(a + (b - a) * min(max(share, 0.1), 0.9))


def knob_for_jnd(model: Model, rgb: np.ndarray, jnd: float, start: float) -> int:
    """Knob whose decoded picture is `jnd` JND away, as estimated by SSIMULACRA2 (jndcodec.jnd, learned codecs)."""
    import torch

    from jndcodec.metrics.ssimulacra2 import score

    part = sample(rgb)
    reference = _tensor(part)
    goal = ssimulacra2_from_jnd(jnd, learned=True)
    best_score = -math.inf

    def measure(knob: int) -> float:
        nonlocal best_score
        with torch.inference_mode():
            value = score(reference, _tensor(model.compress(part, knob).reconstruct())).item()
        best_score = max(best_score, value)
        return value

    knob = search(measure, goal, SCORE_TOLERANCE, start)
    if knob < 0:
        reached = jnd_from_ssimulacra2(best_score, learned=True)
        raise TargetError(f"{model.name} reaches only about {reached:.2f} JND on this picture: ask for a higher --jnd")
    return knob


def _tensor(rgb: np.ndarray):  # noqa: ANN202 - the type needs torch
    import torch

    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def knob_for_bytes(model: Model, rgb: np.ndarray, budget: int, effort: int, start: float) -> int:
    """Largest knob whose streams take at most `budget` bytes; TargetError if even the smallest knob takes more."""
    part = sample(rgb)
    if part is not rgb:  # the sample's rate leads close to the goal, the whole picture decides
        share = part[..., 0].size / rgb[..., 0].size
        start = max(0, _largest(lambda knob: _size(model, part, knob, effort), budget * share, start, TRIALS)) / T_MAX
    knob = _largest(lambda knob: _size(model, rgb, knob, effort), budget, start, TRIALS)
    if knob < 0:
        smallest = _size(model, rgb, 0, effort)
        if smallest > budget:
            raise TargetError(f"{model.name} cannot go below {smallest} bytes of streams for this picture: allow more")
        knob = 0
    return knob


def _size(model: Model, rgb: np.ndarray, knob: int, effort: int) -> int:
    coded = model.compress(rgb, knob, effort)
    return len(coded.z) + len(coded.y)


def _largest(size: Callable[[int], int], budget: float, start: float, trials: int) -> int:
    """Largest knob found within `budget` bytes, -1 if none was: the search mirrored, on a logarithmic scale."""
    knob = search(lambda mirrored: -math.log(size(T_MAX - mirrored) / budget), 0.0, BYTES_TOLERANCE, 1 - start, trials)
    return T_MAX - knob if knob >= 0 else -1
