"""How much time an encoder puts into a picture: levels 1 to 9. The decoder knows nothing of it.

    1      plain rounding
    2, 3   dead zones: elements that cost more than they bring go to the mean, in the same single pass
    4 … 9  gradient descent on y and z for R + λ D through the real decoder, ever more steps

No torch here: the command line reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from jndcodec.errors import ArgumentError


@dataclass(frozen=True)
class Level:
    """dead_zone: share of the tuned dead zones that rounding uses. steps: of gradient descent before rounding."""

    dead_zone: float
    steps: int = 0


LEVELS = {
    1: Level(dead_zone=0.0),
    2: Level(dead_zone=0.5),
    3: Level(dead_zone=1.0),
    4: Level(dead_zone=1.0, steps=3),
    5: Level(dead_zone=1.0, steps=6),
    6: Level(dead_zone=1.0, steps=9),
    7: Level(dead_zone=1.0, steps=12),
    8: Level(dead_zone=1.0, steps=16),
    9: Level(dead_zone=1.0, steps=20),
}
SINGLE_PASS = 3  # the highest level without gradient descent: what searches try with, and what the others must beat


def level_of(effort: int) -> Level:
    """The level by its number; ArgumentError where there is none."""
    if effort not in LEVELS:
        raise ArgumentError(f"effort {effort} is not between {min(LEVELS)} and {max(LEVELS)}")
    return LEVELS[effort]
