"""From a batch and the model's output to the number that is minimised."""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jndcodec.metrics.distortion import distortion, mse_255
from jndcodec.metrics.trade import RateTrade
from jndcodec.train import losses
from jndcodec.train.distributed import Team

# --weight where it is not given. PWL: original against JND1; IWL: hinge against plain; FWL: pixels against features.
WEIGHT = {("paper", "fwl"): 0.9, ("balanced", "pwl"): 0.5, ("balanced", "iwl"): 0.9, ("balanced", "fwl"): 0.5}


class Parts(NamedTuple):
    """loss: scalar to minimise. bpp, distortion (main metric's units), mse (255²): (N,), detached, for the log."""

    loss: Tensor
    bpp: Tensor
    distortion: Tensor
    mse: Tensor


class Objective(nn.Module):
    """One of the losses over a (mix of) metric(s). Its only state is the scale of FWL's feature term."""

    feature_scale: Tensor

    def __init__(
        self, trade: RateTrade, loss: str, variant: str, weight: float | None, features: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.trade, self.loss, self.variant = trade, loss, variant
        self.weight = WEIGHT.get((variant, loss), 1.0) if weight is None else weight
        self.features = features
        self.metrics = {metric: distortion(metric) for metric in trade.shares}
        self.register_buffer("feature_scale", torch.ones(()))

    @property
    def needs_scale(self) -> bool:
        """Balanced FWL measures the scale of its feature term on the first batch."""
        return self.loss == "fwl" and self.variant == "balanced"

    def distance(self, x_hat: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Mix of the metrics, (N,), in the main metric's units."""
        return torch.stack([self.trade.share(name, t) * d(x_hat, x) for name, d in self.metrics.items()]).sum(0)

    def feature_term(self, x_hat: Tensor, x_jnd: Tensor) -> Tensor:
        """Distance of features, (N,): MSE of the last layer (paper), or of unit vectors of all layers (balanced)."""
        assert self.features is not None  # FWL brings them
        with torch.no_grad():
            target = self.features(x_jnd)
        layers = self.features(x_hat)
        if self.variant == "paper":
            return losses.feature_mse(layers[-1].float(), target[-1].float())
        return losses.feature_distance(layers, target)

    def measure_scale(self, x: Tensor, x_jnd: Tensor, x_hat: Tensor, t: Tensor, team: Team) -> None:
        """Make the feature term's gradient on x_hat as large as the pixel term's, over the global batch."""
        norms = []
        for term in (lambda p: self.distance(p, x, t), lambda p: self.feature_term(p, x_jnd)):
            pixels = x_hat.detach().float().requires_grad_()
            (gradient,) = torch.autograd.grad(term(pixels).sum(), pixels)
            norms.append(gradient.flatten(1).norm(dim=1).mean())
        team.average(norms)
        self.feature_scale.copy_(norms[0] / norms[1].clamp_min(1e-20))

    def forward(self, x: Tensor, x_jnd: Tensor | None, t: Tensor, x_hat: Tensor, bits: Tensor) -> Parts:
        """x, x_jnd, x_hat: (N, 3, H, W); x_jnd may be None for plain RD. t, bits: (N,)."""
        bpp = bits / (x.shape[2] * x.shape[3])
        jnd_alone = (self.loss, self.variant) == ("pwl", "paper")
        with torch.no_grad() if jnd_alone else nullcontext():
            d = self.distance(x_hat, x, t)
        value = self._value(bpp, d, x, x_jnd, t, x_hat)
        with torch.no_grad():
            mse = mse_255(x_hat.clamp(0, 1), x)
        return Parts((value * self.trade.level(t)).mean(), bpp.detach(), d.detach(), mse)

    def _value(self, rate: Tensor, d: Tensor, x: Tensor, x_jnd: Tensor | None, t: Tensor, x_hat: Tensor) -> Tensor:
        lmbda, paper = self.trade.lmbda(t), self.variant == "paper"
        if self.loss == "rd":
            return losses.rd(rate, d, lmbda)
        assert x_jnd is not None  # the other losses ask the data for it
        if self.loss == "pwl":
            to_jnd = self.distance(x_hat, x_jnd, t)
            if paper:
                return losses.pwl_paper(rate, to_jnd, lmbda)
            return losses.pwl_balanced(rate, d, to_jnd, lmbda, self.weight)
        if self.loss == "iwl":
            d_jnd = self.distance(x_jnd, x, t)
            if paper:
                return losses.iwl_paper(rate, d, d_jnd, lmbda)
            return losses.iwl_balanced(rate, d, d_jnd, lmbda, self.weight)
        return losses.fwl(rate, d, self.feature_scale * self.feature_term(x_hat, x_jnd), lmbda, self.weight)
