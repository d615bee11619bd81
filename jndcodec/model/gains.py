"""What the rate knob t sets in `jlc-vbr`: gains and usual sizes, log-linear in t between learned anchors."""

from __future__ import annotations

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
        return between(self.log_gain, t)


def between(values: Tensor, t: Tensor) -> Tensor:
    """Values (K, C) at K anchors, spread evenly over [0, 1], at t (N,): (N, C, 1, 1) float32.

    As products with the weights of all anchors, of which two are not 0: the gradient needs no scatter, and what a t
    finds is the same to the last bit whatever stands beside it, as of a product of matrices it is not.
    """
    last = len(values) - 1
    distance = (t * last).clamp(0, last)[:, None] - torch.arange(last + 1, device=t.device)
    weights = (1 - distance.abs()).clamp_(min=0)
    return (weights[:, :, None] * values).sum(1)[:, :, None, None]


class Gains:
    """All of them at t, (N, C, 1, 1) float32, each looked up once.

    y, detail: make steps of what the encoder has. y_back, detail_back: what the decoder needs of steps. They stand on
    top of 1 / the encoder's, so that a change of one does not spoil the linear path. a: inside g_a, at 1/8; s: inside
    g_s, on top of 1 / a. log_scale, log_scale_z: usual sizes in steps, log σ_c(t), of y's channels, then detail's, and
    of z's. sigma: σ_c(t) of y's, detached: units, not a prediction. detail_units: from detail, before it is made
    steps, to its usual size, detached too.
    """

    def __init__(
        self, t: Tensor, m: int, *, y: RateGain, y_inverse: RateGain, a: RateGain, s: RateGain,
        scale_y: RateGain, scale_z: RateGain,
    ) -> None:  # fmt: skip
        """m: how many channels of y and scale_y are y's; the rest are detail's."""
        every: list[Tensor] = [gain.log_gain for gain in (y, y_inverse, a, s, scale_y, scale_z)]
        found = between(torch.cat(every, 1), t).split([part.shape[1] for part in every], 1)
        log_y, log_y_inverse, log_a, log_s, self.log_scale, self.log_scale_z = found
        parts = [m, log_y.shape[1] - m]
        usual, usual_detail = self.log_scale.detach().split(parts, 1)
        self.y, self.detail = log_y.exp().split(parts, 1)
        self.y_back, self.detail_back = (log_y_inverse - log_y).exp().split(parts, 1)
        self.a, self.s = log_a.exp(), (log_s - log_a).exp()
        self.sigma, self.detail_units = usual.exp(), (log_y[:, m:] - usual_detail).exp()
