"""From what the user wants (JND, bpp, bytes) to the rate knob, by trial coding.

Small pictures are tried whole; above SAMPLE_ABOVE pixels a fixed sample of tiles stands for the picture, so that the
search costs seconds whatever the size. A byte budget is checked on the real file in the end and never exceeded.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from jndcodec.container.jlc import varint
from jndcodec.effort import SINGLE_PASS, level_of
from jndcodec.effort.compress import compress
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.errors import TargetError
from jndcodec.metrics.arrays import Reference
from jndcodec.model.interface import Compressed, Model, Progress, size_of
from jndcodec.rate.goal import Goal
from jndcodec.rate.jnd import jnd_from_ssimulacra2, ssimulacra2_from_jnd
from jndcodec.rate.search import Expected, guess, search
from jndcodec.weights import ModelInfo

SAMPLE_ABOVE = 2_000_000  # pixels
SAMPLE_TILE = 512  # pixels on a side
SAMPLE_TILES = 6
GLANCE_TILE = 128  # pixels on a side, of a first look at what is at least GLANCE_ABOVE pixels
GLANCE_ABOVE = 3 * SAMPLE_TILES * GLANCE_TILE**2
SCORE_TOLERANCE = 0.4  # SSIMULACRA2 points; its spread at one JND is 3.6
BYTES_TOLERANCE = 0.005  # share of the budget that may be left
LOW_KNOBS = (64, 256, 1024, 4096)
SLOW_TRIALS = 3  # of levels with gradient descent, and what ends them earlier:
SLOW_SCORE_TOLERANCE = 0.5
SLOW_BYTES_TOLERANCE = 0.02


def sample(rgb: np.ndarray) -> np.ndarray:
    """The picture itself, or tiles of it on a fixed lattice, stacked to one picture (6 * 512, 512, 3)."""
    height, width = size_of(rgb)
    if height * width <= SAMPLE_ABOVE or min(height, width) < SAMPLE_TILE:
        return rgb[: max(1, SAMPLE_ABOVE // width)] if height * width > SAMPLE_ABOVE else rgb
    return np.concatenate(_tiles(rgb, SAMPLE_TILE))


def glance(rgb: np.ndarray) -> np.ndarray | None:
    """Small tiles side by side, 256x384 pixels in all, large enough for SSIMULACRA2's scales; None where the picture is
    not much larger."""
    height, width = size_of(rgb)
    if height * width < GLANCE_ABOVE or min(height, width) < 3 * GLANCE_TILE:
        return None
    tiles = _tiles(rgb, GLANCE_TILE)
    columns = len(tiles) // 2
    return np.concatenate([np.concatenate(tiles[:columns], 1), np.concatenate(tiles[columns:], 1)])


def _tiles(rgb: np.ndarray, side: int) -> list[np.ndarray]:
    """Squares on a lattice of 3x2, more of them along the longer side, row by row."""
    height, width = size_of(rgb)
    columns = 3 if width >= height else 2
    rows = SAMPLE_TILES // columns
    tops = np.linspace(0, height - side, 2 * rows + 1).astype(int)[1::2]
    lefts = np.linspace(0, width - side, 2 * columns + 1).astype(int)[1::2]
    return [rgb[y : y + side, x : x + side] for y in tops for x in lefts]


class Trials:
    """Codings of one picture. Searches try the quickest level that quantises alike; the slow levels, whose gain
    differs from picture to picture, are tried themselves a few times in the end, and no coding is made twice."""

    def __init__(self, model: Model, rgb: np.ndarray, effort: int, progress: Progress) -> None:
        """progress: called with the share done."""
        self.model, self.rgb, self.effort = model, rgb, effort
        self.slow = model.exact and level_of(effort).steps > 0
        self._kept: dict[int, Compressed] = {}
        self._progress, self._done = progress, 0.0

    def quick(self, rgb: np.ndarray, knob: int) -> Compressed:
        return compress(self.model, rgb, knob, SINGLE_PASS) if self.slow else self.full(rgb, knob)

    def full(self, rgb: np.ndarray, knob: int) -> Compressed:
        """At the effort asked for; kept where it is the whole picture."""
        if rgb is self.rgb and knob in self._kept:
            return self._kept[knob]
        coded = self._compress(rgb, knob)
        if rgb is self.rgb:
            self._kept[knob] = self._streams_only(coded, knob)
        return coded

    def _streams_only(self, coded: Compressed, knob: int) -> Compressed:
        """The same without y_hat, which is larger than the picture: it is decoded anew where anybody asks."""
        streams = coded.z, coded.y, coded.symbols_crc
        decode = functools.partial(self.model.decompress, *streams, knob, size_of(self.rgb))
        return dataclasses.replace(coded, reconstruct=decode)

    def _compress(self, rgb: np.ndarray, knob: int) -> Compressed:
        start = self._done

        def progress(share: float) -> None:
            """Half of what is left: nobody knows whether another trial follows."""
            self._done = start + share * (1 - start) / 2
            self._progress(self._done)

        return compress(self.model, rgb, knob, self.effort, progress)

    def settle(
        self,
        rgb: np.ndarray,
        knob: int,
        margin: Callable[[Compressed], float],
        quick: Callable[[int], float],
        find: Callable[[Callable[[int], float], int], int],
        tolerance: float,
    ) -> int:
        """From the knob that a search with quick codings found to the one for the slow level.

        margin: of a coding, at least 0 where the goal is met, the less the better. quick: that of the quick coding at a
        knob. find(margin of a knob, start): the search. Where no slow trial meets the goal, the quick coding stays.
        """
        if not self.slow:
            return knob
        first, best = knob, (math.inf, -1)
        for _ in range(SLOW_TRIALS):
            here = margin(self.full(rgb, knob))
            if here >= 0:
                best = min(best, (here, knob))
            if 0 <= here <= tolerance:
                break
            gain = here - quick(knob)
            knob = find(functools.partial(_raised, quick, gain), knob)
            if knob < 0 or knob in self._kept:
                break
        if best[1] < 0:
            self._kept[first] = self.quick(self.rgb, first)
            return first
        return best[1]


def _raised(measure: Callable[[int], float], gain: float, knob: int) -> float:
    return measure(knob) + gain


def knob_for(goal: Goal, trials: Trials, pixels: int, rest: int, info: ModelInfo) -> int:
    """The knob for a goal, of a model that has one. pixels: of the whole picture; rest: bytes of the file without its
    streams. TargetError where it is out of reach."""
    if goal.quality is not None:
        return round(goal.quality / 100 * T_MAX)
    if goal.jnd is not None:
        return knob_for_jnd(trials, goal.jnd, info)
    size = goal.bytes_for(pixels)
    if size is None:
        return round(info.t_1jnd * T_MAX)
    if size <= rest + 1:
        raise TargetError(f"{size} bytes are too few: header, alpha and metadata alone take {rest}")
    return knob_for_bytes(trials, size - rest, info)


def knob_for_jnd(trials: Trials, jnd: float, info: ModelInfo) -> int:
    """Knob whose decoded picture is `jnd` JND away, as estimated by SSIMULACRA2 (jndcodec.rate.jnd, learned codecs)."""
    part = sample(trials.rgb)
    reference = Reference(part)
    goal = ssimulacra2_from_jnd(jnd, learned=True)
    expected = Expected.ssimulacra2(info).minus(goal)
    best_score = -math.inf

    def margin(coded: Compressed) -> float:
        nonlocal best_score
        value = reference.ssimulacra2(coded.reconstruct())
        best_score = max(best_score, value)
        return value - goal

    def find(measure: Callable[[int], float], start: int | None = None) -> int:
        return search(measure, 0.0, SCORE_TOLERANCE, expected, start)

    start = None
    few = glance(part)
    if few is not None:  # a quarter of a trial, or less, that often saves one
        original = Reference(few)
        start = guess(lambda knob: original.ssimulacra2(trials.quick(few, knob).reconstruct()) - goal, 0.0, expected)
    quick = functools.cache(lambda knob: margin(trials.quick(part, knob)))
    knob = find(quick, start)
    if knob < 0 and trials.slow and margin(trials.full(part, T_MAX)) >= 0:
        knob = T_MAX
    if knob < 0:
        name, reached = trials.model.name, jnd_from_ssimulacra2(best_score, learned=True)
        raise TargetError(f"{name} reaches only about {reached:.2f} JND on this picture: ask for a higher --jnd")
    return trials.settle(part, knob, margin, quick, find, SLOW_SCORE_TOLERANCE)


def knob_for_bytes(trials: Trials, budget: int, info: ModelInfo) -> int:
    """Largest knob whose streams, with what their lengths take over a byte each, fit in `budget` bytes; TargetError if
    even the smallest take more."""
    rgb, part = trials.rgb, sample(trials.rgb)
    goal = math.log(8 * budget / rgb[..., 0].size)
    expected = Expected.log_bpp(info).minus(goal).mirrored()

    def find(measure: Callable[[int], float], start: int | None = None) -> int:
        """Largest knob found with a margin of at least 0, -1 if none was: the search mirrored."""
        first = None if start is None else T_MAX - start
        knob = search(lambda mirrored: measure(T_MAX - mirrored), 0.0, BYTES_TOLERANCE, expected, first)
        return T_MAX - knob if knob >= 0 else -1

    def margin(coded: Compressed, pixels: int = rgb[..., 0].size) -> float:
        """How far the streams of so many pixels stay below the budget, on a logarithmic scale."""
        taken = sum(len(stream) + len(varint(len(stream))) - 1 for stream in (coded.z, coded.y))
        return goal - math.log(8 * taken / pixels)

    start = None
    if part is not rgb:  # the sample's rate leads close to the goal, the whole picture decides
        start = max(0, find(lambda knob: margin(trials.quick(part, knob), part[..., 0].size)))
    quick = functools.cache(lambda knob: margin(trials.quick(rgb, knob)))
    knob = find(quick, start)
    if knob < 0:  # near the smallest knob bytes go up and down a little
        knob = next((low for low in LOW_KNOBS if quick(low) >= 0), -1)
    if knob < 0 and trials.slow and margin(trials.full(rgb, 0)) >= 0:
        return 0
    if knob < 0:
        size = round(budget * math.exp(-quick(0)))
        raise TargetError(f"{trials.model.name} cannot go below {size} bytes of streams for this picture: allow more")
    return trials.settle(rgb, knob, margin, quick, find, SLOW_BYTES_TOLERANCE)


def distance(rgb: np.ndarray, decoded: np.ndarray) -> float:
    """The estimated distance in JND of a decoded picture, on a sample where it is large. uint8 (H, W, 3) both."""
    score = Reference(sample(rgb)).ssimulacra2(sample(decoded))
    return jnd_from_ssimulacra2(score, learned=True)
