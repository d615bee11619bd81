"""What is asked of one coding, at most one thing."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from jndcodec.errors import TargetError


@dataclass(frozen=True)
class Goal:
    """quality: 0 … 100, the model's rate knob; jnd: distance in JND units; bpp: bits per pixel, the whole file counted;
    size: bytes. All None: the model's calibrated one-JND quality. TargetError where it makes no sense."""

    quality: float | None = None
    jnd: float | None = None
    bpp: float | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if len(self.given) > 1:
            raise TargetError("quality, jnd, bpp and size are all targets: give one")
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise TargetError(f"quality {self.quality:g} is not between 0 and 100")
        for name in ("jnd", "bpp", "size"):
            value = self.given.get(name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise TargetError(f"{name} {value:g} is not a number above 0")

    @property
    def given(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    def refuse_for(self, name: str) -> None:
        """TargetError if anything is asked for, of what can only be one way."""
        if self.given:
            raise TargetError(f"{name} has one rate only: leave out quality, jnd, bpp and size")

    def bytes_for(self, pixels: int) -> int | None:
        """The most that the file may take; None where it is not bytes that are asked for."""
        return self.size if self.bpp is None else int(self.bpp * pixels / 8)
