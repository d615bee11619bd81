"""JND1 pictures: a classic codec at the quality where SSIMULACRA2 falls to a level of just noticeable difference.

What stands in for subjective data, which nobody can ship; how the levels were measured is told in `jndcodec.rate.jnd`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import PIL

from jndcodec.evaluate.codecs import Coder, PillowEncode, classic_coder
from jndcodec.metrics.arrays import Reference
from jndcodec.rate.jnd import FLICKER, NOTICEABLE, STRICT, ssimulacra2_from_jnd

LEVELS = {"noticeable": NOTICEABLE, "strict": STRICT, "flicker": FLICKER}
CODECS = ("avif", "jpeg", "webp", "jxl")
FIRST = 72  # quality tried first
SLOPE = 0.7  # points of SSIMULACRA2 per step of quality, there
GUESSES = 4
CLOSE = 0.25  # points from the target that are near enough
TOLERANCE = 3.0  # points from the target at which a tile is given up; the level itself is that uncertain (jnd.SPREAD)
HIGHEST = {"webp": 100, "jpeg": 100, "avif": 100, "jxl": 99}  # quality 100 of JPEG XL is lossless


@dataclass(frozen=True)
class Level:
    """A JND1 picture, uint8 (H, W, 3), the quality that made it, and its SSIMULACRA2 against the original."""

    rgb: np.ndarray
    quality: int
    score: float


def threshold(level: str) -> float:
    """SSIMULACRA2 of a level, for classic codecs."""
    return ssimulacra2_from_jnd(LEVELS[level], learned=False)


@lru_cache(maxsize=4)
def coder(name: str) -> Coder:
    """The codec with full colour resolution and one thread. DependencyError if it is not here."""
    found = classic_coder(name)
    options: tuple[tuple[str, object], ...]
    if name == "avif":
        options = (("subsampling", "4:4:4"), ("speed", 7), ("max_threads", 1))
    elif name == "jpeg":  # with 4:2:0, saturated edges never reach the higher levels
        options = (("subsampling", "4:4:4"), ("optimize", True))
    else:
        return found
    version = f"pillow {PIL.__version__}, {options}"
    return replace(found, encode=PillowEncode(name.upper(), options), version=version)


def find_level(rgb: np.ndarray, codec: str, target: float) -> Level:
    """The quality, a whole number from 1, whose score is closest to `target`, or within `CLOSE` of it.

    Bisection whose first steps go where the usual slope points. Where even the highest or lowest quality stays on one
    side of the target, that one: see `reached`.
    """
    low, high = 0, HIGHEST[codec] + 1  # low: below the target; high: not below
    original = Reference(rgb)
    best = level = _try(rgb, original, codec, FIRST)
    for step in range(2 * high.bit_length()):
        low, high = (level.quality, high) if level.score < target else (low, level.quality)
        if high - low <= 1 or abs(best.score - target) <= CLOSE:
            break
        guess = level.quality + round((target - level.score) / SLOPE) if step < GUESSES else (low + high) // 2
        level = _try(rgb, original, codec, min(max(guess, low + 1), high - 1))
        best = min(best, level, key=lambda known: abs(known.score - target))
    return best


def reached(level: Level, target: float) -> bool:
    """Whether the picture is at its level: quantisers are coarse near the top, and WebP halves colour resolution."""
    return abs(level.score - target) <= TOLERANCE


def _try(rgb: np.ndarray, original: Reference, codec: str, quality: int) -> Level:
    how = coder(codec)
    made = how.decode(how.encode(rgb, quality))
    return Level(made, quality, original.ssimulacra2(made))
