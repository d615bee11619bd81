"""How much a unit of distortion costs in bits per pixel: λ of every metric, over the rate knob t or per zoo quality.

All constants of the trade between rate and distortion stand here. `t` is (N,) in [0, 1]; so is every λ.
No torch at import: the command line reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jndcodec.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor

METRICS = ("mse", "ms-ssim", "ssimulacra2", "cvvdp")
COMPANIONS = (*METRICS, "tone")  # what may stand beside the first metric of a mix

# λ at t = 0 and t = 1, log-spaced between. Units: 255² MSE, 1 - MS-SSIM, raw SSIMULACRA2 sum, ColorVideoVDP's Q.
LAMBDA = {
    "mse": (0.001, 1.4),
    "tone": (0.001, 1.4),
    "ms-ssim": (1.2, 1700.0),
    "ssimulacra2": (0.008, 16.0),
    "cvvdp": (0.0023, 12.0),
}
MSE_AT_TOP = 0.25  # of its share that squared error keeps at t = 1 beside a perceptual metric
# What CompressAI's zoo was trained with, qualities 1 to 8.
ZOO_LAMBDA = {
    "mse": (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800),
    "ms-ssim": (2.40, 4.58, 8.73, 16.64, 31.73, 60.50, 115.37, 220.00),
}
LEVELS = 8  # qualities of the zoo, and rate levels of its variable-rate models
LEVEL_POWER = 0.45  # a sample's loss is divided by about λ^0.45, so that no rate drowns the others


@dataclass(frozen=True)
class RateTrade:
    """λ(t) of the main metric, and the other metrics' weights in its units.

    shares: share of each metric, main first. ends: λ of each at t = 0 and 1 (equal for one fixed λ).
    """

    shares: dict[str, float]
    ends: dict[str, tuple[float, float]]

    @property
    def main(self) -> str:
        return next(iter(self.shares))

    def lmbda(self, t: Tensor, metric: str | None = None) -> Tensor:
        low, high = self.ends[metric or self.main]
        return low * (high / low) ** t

    def share(self, metric: str, t: Tensor) -> Tensor:
        """Weight of a metric's distortion beside the main one's, in the main one's units.

        Squared error beside another metric fades to a quarter towards t = 1: near the visually lossless end it would
        outweigh what it helps. Perceptual metrics keep their shares at all rates, and so does tone.
        """
        if metric == self.main:
            return t.new_full(t.shape, self.shares[metric])
        fade = 1 - (1 - MSE_AT_TOP) * t if metric == "mse" else 1.0
        return self.shares[metric] * fade * self.lmbda(t, metric) / self.lmbda(t)

    def level(self, t: Tensor) -> Tensor:
        """Factor on each sample's loss: 1 in the middle of the range of λ."""
        low, high = self.ends[self.main]
        return (high / low) ** (LEVEL_POWER * (0.5 - t))


def parse_metrics(text: str) -> dict[str, float]:
    """ "ssimulacra2:1,mse:0.1" -> {"ssimulacra2": 1.0, "mse": 0.1}; the first one is the main metric."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition(":")
        if name not in (COMPANIONS if shares else METRICS):
            raise ArgumentError(
                f"unknown metric {name!r}; choose from {', '.join(METRICS)}, or mix them: mse:1,ms-ssim:1 "
                "(tone too, after the first)"
            )
        shares[name] = _share(name, share)
    return shares


def variable_rate(shares: dict[str, float], lmbda: str) -> RateTrade:
    """For a model of all rates; `lmbda` "LOW:HIGH" overrides the main metric's range."""
    trade = RateTrade(shares, {metric: LAMBDA[metric] for metric in shares})
    if lmbda:
        low, _, high = lmbda.partition(":")
        trade.ends[trade.main] = (_positive(low), _positive(high))
    return trade


def zoo_range(shares: dict[str, float], lmbda: str) -> RateTrade:
    """For the zoo's variable-rate models: from its lowest quality's λ to its highest's."""
    trade = variable_rate(shares, lmbda)
    if trade.main in ZOO_LAMBDA and not lmbda:
        trade.ends[trade.main] = (ZOO_LAMBDA[trade.main][0], ZOO_LAMBDA[trade.main][-1])
    return trade


def fixed_rate(shares: dict[str, float], quality: int, lmbda: str) -> RateTrade:
    """For a model of one rate: the zoo's λ at `quality` (1 to 8), or `lmbda`, one number for the main metric."""
    ends = {}
    for metric in shares:
        low, high = LAMBDA[metric]
        spaced = [low * (high / low) ** (level / (LEVELS - 1)) for level in range(LEVELS)]
        ends[metric] = (ZOO_LAMBDA.get(metric, spaced)[quality - 1],) * 2
    trade = RateTrade(shares, ends)
    if lmbda:
        trade.ends[trade.main] = (_positive(lmbda), _positive(lmbda))
    return trade


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise ArgumentError(f"--lambda takes a positive number, or LOW:HIGH for a model of all rates, not {text!r}")
    return value


def _share(metric: str, text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        raise ArgumentError(f"the share of {metric} must be a number, not {text!r}") from None
