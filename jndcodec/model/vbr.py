"""`jlc-vbr`, the native model: one network for all rates (docs/DESIGN.md, "Native model").

    x ─ DCT ─ g_a ─ y ─ ×gain(t) ─ round(y − μ) + μ = y_hat ─ ÷gain(t) ─ g_s ─ DCT⁻¹ ─ x_hat
                    └ h_a ─ round = z_hat ┬ h_s ─ features of the means μ (4 steps of context)
                                          └ scale_net ─ what z adds to log σ

Some channels of y may be detail: a linear transform of the DCT coefficients, past all residual blocks, which carries
what the others have no room for at high rates. They stand at the end of each channel quarter.

Shapes are NCHW; y stands at 1/16 and z at 1/64 of the picture's resolution, so H and W are multiples of 64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jndcodec.entropy.dead_zone import quantiser
from jndcodec.entropy.lookup import look_up, table_index
from jndcodec.entropy.tables import COUNT
from jndcodec.model.context import STEPS, Context, step_masks
from jndcodec.model.layers import (
    BlockDct,
    RateGain,
    Residual,
    Slim,
    conv,
    gaussian_bits,
    join_quarters,
    residuals,
    split_quarters,
)

STRIDE_Y = 16
STRIDE_Z = 64


@dataclass(frozen=True)
class VbrConfig:
    """Widths and depths of `jlc-vbr`."""

    c8: int = 192  # channels at 1/8 of the resolution; 192 = 3 x 64 DCT coefficients for the KLT start
    c16: int = 256  # channels at 1/16
    m: int = 256  # channels of y, a multiple of 4
    detail: int = 0  # how many of them are detail, a multiple of 4
    cz: int = 96  # channels of z
    d: int = 128  # width of the hyper transforms and of the context
    ds: int = 96  # width of the scale network
    n8: int = 2  # residual blocks at 1/8
    n16: int = 1  # residual blocks at 1/16
    h8: int = 0  # width of the slim blocks after the residual ones at 1/8; 0: none
    h16: int = 0  # and at 1/16
    s8: int = 0  # further slim blocks at 1/8, after those
    s16: int = 0  # and at 1/16
    anchors: int = 9  # rate anchors of the gains


class Output(NamedTuple):
    """x_hat (N, 3, H, W), not clamped; bits of y and of z per picture, (N,)."""

    x_hat: Tensor
    bits_y: Tensor
    bits_z: Tensor


class JlcVbr(nn.Module):
    """The float model, for training and for the transforms. Coding replaces `scale_net` by its integer twin."""

    def __init__(self, config: VbrConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VbrConfig()
        c8, c16, m, cz, d, ds = config.c8, config.c16, config.m, config.cz, config.d, config.ds
        self.dct = BlockDct()
        self.g_a_in = conv(192, c8)
        self.g_a_8 = residuals(c8, config.n8, config.h8, config.s8)
        self.g_a_16 = nn.Sequential(
            conv(c8, c16, 3, 2), residuals(c16, config.n16, config.h16, config.s16), conv(c16, m - config.detail, 1)
        )
        self.g_s_16 = nn.Sequential(
            conv(m - config.detail, c16, 1),
            residuals(c16, config.n16, config.h16, config.s16),
            conv(c16, c8 * 4, 1),
            nn.PixelShuffle(2),
        )
        if config.detail:
            self.g_a_detail = conv(192, config.detail, 3, 2)
            self.g_s_detail = nn.Sequential(conv(config.detail, 192 * 4, 1), nn.PixelShuffle(2))
        self.g_s_8 = residuals(c8, config.n8, config.h8, config.s8)
        self.g_s_out = conv(c8, 192)
        k = config.anchors
        self.gain_y = RateGain(m, k, low=0.46, high=3.39)
        self.gain_a = RateGain(c8, k)
        # The decoder's gains stand on top of 1 / the encoder's: a change of one must not spoil the linear path.
        self.gain_y_inverse = RateGain(m, k)
        self.gain_s = RateGain(c8, k)
        self.scale_y = RateGain(m, k, low=0.0, high=2.0)  # σ_c(t): usual size of y per channel and rate
        self.scale_z = RateGain(cz, k, low=1.0, high=1.0)
        self.h_a = nn.Sequential(
            conv(2 * m, d, 1), nn.ReLU(), conv(d, d, 3, 2), nn.ReLU(), conv(d, d), nn.ReLU(), conv(d, cz, 3, 2)
        )
        self.h_s = nn.Sequential(
            conv(cz, d * 4, 1), nn.PixelShuffle(2), nn.ReLU(), conv(d, d), nn.ReLU(),
            conv(d, d * 4, 1), nn.PixelShuffle(2), nn.ReLU(), conv(d, 2 * d), nn.ReLU(),
        )  # fmt: skip
        self.scale_net = nn.Sequential(
            conv(cz, ds * 4, 1), nn.PixelShuffle(2), nn.ReLU(), conv(ds, ds), nn.ReLU(),
            conv(ds, ds * 4, 1), nn.PixelShuffle(2), nn.ReLU(), conv(ds, ds), nn.ReLU(), conv(ds, m, 1),
        )  # fmt: skip
        # Small symbols overstate: the values that were rounded to one lie nearer to the mean. By table index.
        self.recon_shift = nn.Parameter(torch.zeros(COUNT, device="cpu"))
        # What training rounds with, so that it sees what the encoder's default effort will send; the trainer sets it.
        self.register_buffer("dead_zone", torch.zeros(COUNT, device="cpu"), persistent=False)
        self.mean_0 = conv(2 * d, m, 1)
        self.context = nn.ModuleList(Context(m, d) for _ in range(STEPS - 1))
        if not self.mean_0.weight.is_meta:  # a shape-only model has nothing to draw, and torch takes seconds to say so
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Random weights; residual branches start small so that the main path rules."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                module.weight.mul_(0.8)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Residual):
                module.b.weight.mul_(0.3)
            if isinstance(module, Slim):
                module.leave.weight.zero_()

    def analyse(self, x: Tensor, t: Tensor) -> Tensor:
        """g_a: x (N, 3, H, W) in [0, 1] -> y (N, m, H/16, W/16) float32, in quantisation steps at rate t (N,)."""
        coefficients = self.dct(x)
        u = self.g_a_in(coefficients)
        y = self.g_a_16(self.g_a_8(u * self.gain_a(t).to(u.dtype)))
        if self.config.detail:
            y = join_quarters(y, self.g_a_detail(coefficients))
        return y.float() * self.gain_y(t)

    def synthesise(self, y_hat: Tensor, t: Tensor) -> Tensor:
        """g_s: y_hat (N, m, H/16, W/16) -> x_hat (N, 3, H, W), not clamped."""
        y = y_hat * (self.gain_y_inverse.log(t) - self.gain_y.log(t)).exp()
        main, detail = split_quarters(y, self.config.detail) if self.config.detail else (y, None)
        u = self.g_s_16(main)
        coefficients = self.g_s_out(self.g_s_8(u * (self.gain_s.log(t) - self.gain_a.log(t)).exp().to(u.dtype)))
        if detail is not None:
            coefficients = coefficients + self.g_s_detail(detail)
        return self.dct.inverse(coefficients)

    def hyper_analyse(self, y: Tensor, t: Tensor) -> Tensor:
        """h_a: y -> z (N, cz, H/64, W/64) float32. Reads y in units of σ_c(t), and its log-energy."""
        v = y / self.scale_y(t).detach()
        return self.h_a(torch.cat([v.clamp(-8, 8), torch.log(v.abs() + 1) - 0.5], 1)).float()

    def step_mean(self, step: int, y_hat: Tensor, features: Tensor, sigma: Tensor) -> Tensor:
        """Means (N, m, h, w) float32 as one step sees them; `y_hat` holds zeros where nothing is reconstructed yet."""
        return self.mean_in_units(step, y_hat, features, sigma).float() * sigma

    def mean_in_units(self, step: int, y_hat: Tensor, features: Tensor, sigma: Tensor) -> Tensor:
        """The same in units of σ_c(t), in the precision of the convolutions."""
        if step == 0:
            return self.mean_0(features)
        return self.context[step - 1]((y_hat / sigma).clamp_(-8, 8), features)

    def reconstruction(self, symbols: Tensor, index: Tensor) -> Tensor:
        """y_hat - mean of symbols (N, m, h, w) under table indexes (integers of that shape): inside of the symbol."""
        return symbols - symbols.clamp(-1, 1) * look_up(self.recon_shift, index)

    def refine(
        self, z_hat: Tensor, y: Tensor, t: Tensor, quantise: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The four steps on whole tensors: (means, y_hat), with y_hat = quantise(y, mean)."""
        features = self.h_s(z_hat)
        sigma = self.scale_y(t).detach()
        mean, y_hat = torch.zeros_like(y), torch.zeros_like(y)
        for step, mask in enumerate(step_masks(y.shape[1], y.shape[2], y.shape[3], y.device)):
            now = self.step_mean(step, y_hat, features, sigma)
            mean = mean + now * mask
            y_hat = y_hat + quantise(y, now) * mask
        return mean, y_hat

    def forward(self, x: Tensor, t: Tensor, hard: bool = False) -> Output:
        """Reconstruction and estimated bits.

        x: (N, 3, H, W) in [0, 1]; t: (N,) in [0, 1]. Training uses straight-through rounding for what g_s and the
        context read and uniform noise for the rates (Minnen and Singh 2020); `hard` rounds for both.
        """
        y = self.analyse(x, t)
        z = self.hyper_analyse(y, t)
        z_hat = z + (torch.round(z) - z).detach()
        log_scale = self.scale_y.log(t) + self.scale_net(z_hat).float()
        index = table_index(log_scale.detach())
        round_off = quantiser(self.dead_zone)

        def quantise(y: Tensor, mean: Tensor) -> Tensor:
            residual = (y - mean).detach()
            return y + (self.reconstruction(round_off(residual, index), index) - residual)

        mean, y_hat = self.refine(z_hat, y, t, quantise)
        residual = round_off(y - mean, index) if hard else y - mean + torch.rand_like(y) - 0.5
        noisy_z = z_hat if hard else z + torch.rand_like(z) - 0.5
        bits_y = gaussian_bits(residual, log_scale).sum((1, 2, 3))
        bits_z = gaussian_bits(noisy_z, self.scale_z.log(t)).sum((1, 2, 3))
        return Output(self.synthesise(y_hat, t), bits_y, bits_z)
