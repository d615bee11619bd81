"""Factor on the learning rate over the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

FLOOR = 0.005  # of the peak: the cosine's end, and the first step of the warm-up


def cosine(progress: float, warmup: float) -> float:
    """Linear warm-up over the first `warmup` of the run (0 to 1), then a half cosine down to `FLOOR`."""
    rise = min(1.0, progress / warmup) if warmup > 0 else 1.0
    return max(FLOOR, rise * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


@dataclass
class Plateau:
    """Halve after `patience` validations without a better score, as CompressAI's training example does."""

    factor: float = 0.5
    patience: int = 10
    floor: float = 1e-3
    scale: float = 1.0
    best: float = math.inf
    waited: int = field(default=0)

    def update(self, score: float) -> None:
        """Take a validation loss (low is good)."""
        if score < self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.scale, self.waited = max(self.floor, self.scale * self.factor), 0

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.scale, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scale, self.best, self.waited = state["scale"], state["best"], state["waited"]
