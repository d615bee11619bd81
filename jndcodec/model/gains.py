"""What the rate knob t sets in `jlc-vbr`: gains and usual sizes, log-linear in t between learned anchors."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor, nn


class RateGain(nn.Module):
    """A positive number per channel and rate anchor, as its natural logarithm: `log_gain` (K, C)."""

    def __init__(self, channels: int, anchors: int, low: float = 0.0, high: float = 0.0) -> None:
        super().__init__()
        start = torch.linspace(low, high, anchors, device="cpu")  # not on "meta", where torch imports sympy for it
        self.log_gain = nn.Parameter(start[:, None].repeat(1, channels))

    def log(self, t: Tensor) -> Tensor:
        """At t (N,) in [0, 1], (N, C, 1, 1)."""
        return self.log_between(hats(t, len(self.log_gain)))

    def log_between(self, weights: Tensor) -> Tensor:
        """The same of the weights of the anchors, `hats`. A product: its gradient needs no scatter."""
        with torch.autocast(weights.device.type, enabled=False):  # bf16 has too few digits for a logarithm
            return (weights @ self.log_gain)[:, :, None, None]


def hats(t: Tensor, anchors: int) -> Tensor:
    """(N, K): the weights of K anchors, spread evenly over [0, 1], at t (N,): two at most, with sum 1."""
    last = anchors - 1
    distance = (t * last).clamp(0, last)[:, None] - torch.arange(anchors, device=t.device)
    return (1 - distance.abs()).clamp_(min=0)


class Gains:
    """All of them at t, (N, C, 1, 1) float32, each looked up once, when it is first needed.

    `y` and `detail` make steps of what the encoder has, `y_back` and `detail_back` what the decoder needs of steps: it
    stands on top of 1 / the encoder's, so that a change of one does not spoil the linear path.
    """

    def __init__(
        self, t: Tensor, m: int, *, y: RateGain, y_inverse: RateGain, a: RateGain, s: RateGain,
        scale_y: RateGain, scale_z: RateGain,
    ) -> None:  # fmt: skip
        """m: how many channels of y and scale_y are y's; the rest are detail's."""
        self._weights, self._m = hats(t, len(y.log_gain)), m
        self._y, self._y_inverse, self._a, self._s, self._scale_y, self._scale_z = y, y_inverse, a, s, scale_y, scale_z

    def _log(self, gain: RateGain) -> Tensor:
        return gain.log_between(self._weights)

    def _parts(self, both: Tensor) -> tuple[Tensor, Tensor]:
        y, detail = both.split([self._m, both.shape[1] - self._m], 1)
        return y, detail

    @cached_property
    def _log_y(self) -> Tensor:
        return self._log(self._y)

    @cached_property
    def _log_a(self) -> Tensor:
        return self._log(self._a)

    @cached_property
    def _forth(self) -> tuple[Tensor, Tensor]:
        return self._parts(self._log_y.exp())

    @cached_property
    def _back(self) -> tuple[Tensor, Tensor]:
        return self._parts((self._log(self._y_inverse) - self._log_y).exp())

    @property
    def y(self) -> Tensor:
        return self._forth[0]

    @property
    def detail(self) -> Tensor:
        return self._forth[1]

    @property
    def y_back(self) -> Tensor:
        return self._back[0]

    @property
    def detail_back(self) -> Tensor:
        return self._back[1]

    @cached_property
    def a(self) -> Tensor:
        """Inside g_a, at 1/8."""
        return self._log_a.exp()

    @cached_property
    def s(self) -> Tensor:
        """Inside g_s, at 1/8, on top of 1 / `a`."""
        return (self._log(self._s) - self._log_a).exp()

    @cached_property
    def log_scale(self) -> Tensor:
        """log σ_c(t) of y's channels, then detail's: the usual size in steps."""
        return self._log(self._scale_y)

    @cached_property
    def log_scale_z(self) -> Tensor:
        return self._log(self._scale_z)

    @cached_property
    def sigma(self) -> Tensor:
        """σ_c(t) of y's channels, detached: units, not a prediction."""
        return self.log_scale.detach()[:, : self._m].exp()

    @cached_property
    def detail_units(self) -> Tensor:
        """From detail, before it is made steps, to its usual size, which is detached."""
        return (self._parts(self._log_y)[1] - self.log_scale.detach()[:, self._m :]).exp()
