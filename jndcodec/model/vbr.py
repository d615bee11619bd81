"""`jlc-vbr`, the native model: one network for all rates (docs/DESIGN.md, "Native model").

    x ─ DCT ─ c ─ g_a ─ y ─ ×gain(t) ─ round(y − μ) + μ = y_hat ─ ÷gain(t) ─ g_s ─ c' ─┬────────────── + ─ DCT⁻¹ ─ x_hat
                    └ h_a ─ round = z_hat ┬ h_s ─ features of the means μ (4 steps)    │               │
                                          └ scale_net ─ what z adds to log σ      W (c − c') ─ round ─ Wᵀ

y is the main part, which the networks make and read; some of its channels, at the end of each quarter, are a linear
transform of c past all blocks. What becomes of it, c', is a prediction of the DCT coefficients c of the picture; the
**detail** is what c' misses, in an orthonormal basis W of whole 16x16 blocks. Its means are 0, so it needs no context,
and where its table index is small it is not coded. As W has as many rows as a block has numbers, any picture can be
reconstructed, whatever the networks have learned.

Shapes are NCHW; c stands at 1/8, y and detail at 1/16 and z at 1/64 of the picture's resolution, rounded up. H and W
are multiples of 16. Channels that are numbered together (gains, scales, table indexes) are y's, then detail's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jndcodec.entropy.lookup import audible, look_up, table_index
from jndcodec.entropy.rounding import round_off, slopes
from jndcodec.entropy.tables import COUNT
from jndcodec.model.context import Context, kept_masks
from jndcodec.model.gains import Gains, RateGain
from jndcodec.model.grid import BLOCK, STEPS
from jndcodec.model.layers import (
    BlockDct,
    Slim,
    conv,
    from_blocks,
    full_conv,
    gaussian_bits,
    join_quarters,
    slims,
    split_quarters,
    to_blocks,
)
from jndcodec.model.placing import Placed


@dataclass(frozen=True)
class VbrConfig:
    """Widths and depths of `jlc-vbr`."""

    c8: int = 192  # channels at 1/8 of the resolution; 192 = 3 x 64 DCT coefficients for the KLT start
    c16: int = 256  # channels at 1/16
    m: int = 384  # channels of y, a multiple of 4
    linear: int = 128  # how many of them are linear, a multiple of 4, below m
    detail: int = BLOCK  # channels of detail; all of a block's, or the rest can't be bought at any rate
    ce: int = 16  # what h_a sees of them
    cz: int = 96  # channels of z
    d: int = 128  # width of the hyper transforms and of the context
    ds: int = 96  # width of the scale network
    h8: int = 128  # width of the slim blocks at 1/8
    h16: int = 128  # and at 1/16
    s8: int = 6  # slim blocks at 1/8, in each direction
    s16: int = 6  # and at 1/16
    anchors: int = 9  # rate anchors of the gains


class Output(NamedTuple):
    """x_hat (N, 3, H, W), not clamped; bits of y with detail, and of z, per picture, (N,)."""

    x_hat: Tensor
    bits_y: Tensor
    bits_z: Tensor


class JlcVbr(nn.Module):
    """The float model, for training and for the transforms. Coding replaces `scale_net` by its integer twin."""

    basis: Tensor
    dead_zone: Tensor
    slope: Tensor

    def __init__(self, config: VbrConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VbrConfig()
        c8, c16, m, cz, d, ds, k = config.c8, config.c16, config.m, config.cz, config.d, config.ds, config.anchors
        linear = config.linear
        self.dct = BlockDct()
        self.g_a_in = full_conv(192, c8)
        self.g_a_8 = slims(c8, config.h8, config.s8)
        self.g_a_16 = nn.Sequential(
            full_conv(c8, c16, 3, 2), slims(c16, config.h16, config.s16), full_conv(c16, m - linear, 1)
        )
        self.g_a_linear = conv(192, linear, 3, 2)
        self.g_s_16 = nn.Sequential(
            full_conv(m - linear, c16, 1), slims(c16, config.h16, config.s16),
            full_conv(c16, c8 * 4, 1), nn.PixelShuffle(2),
        )  # fmt: skip
        self.g_s_linear = nn.Sequential(conv(linear, 192 * 4, 1), nn.PixelShuffle(2))
        self.g_s_8 = slims(c8, config.h8, config.s8)
        self.g_s_out = full_conv(c8, 192)
        # W: orthonormal rows over the 2x2 DCT blocks of 16x16 pixels (row, column, channel); never trained
        self.register_buffer("basis", torch.eye(config.detail, BLOCK, device="cpu"))
        both = m + config.detail
        self.gain_y = RateGain(both, k, low=0.46, high=4.08)
        self.gain_a = RateGain(c8, k)
        self.gain_y_inverse = RateGain(both, k)
        self.gain_s = RateGain(c8, k)
        self.scale_y = RateGain(both, k, low=0.0, high=2.0)  # σ_c(t): usual size per channel and rate
        self.scale_z = RateGain(cz, k, low=1.0, high=1.0)
        self.h_a_detail = conv(config.detail, config.ce, 1)
        self.h_a = nn.Sequential(
            conv(2 * m + config.ce, d, 1),
            nn.ReLU(),
            conv(d, d, 3, 2),
            nn.ReLU(),
            conv(d, d),
            nn.ReLU(),
            conv(d, cz, 3, 2),
        )
        self.h_s = nn.Sequential(
            conv(cz, d * 4, 1), nn.PixelShuffle(2), nn.ReLU(), conv(d, d), nn.ReLU(),
            conv(d, d * 4, 1), nn.PixelShuffle(2), nn.ReLU(), conv(d, 2 * d), nn.ReLU(),
        )  # fmt: skip
        self.scale_net = nn.Sequential(
            conv(cz, ds * 4, 1), nn.PixelShuffle(2), nn.ReLU(), conv(ds, ds), nn.ReLU(),
            conv(ds, ds * 4, 1), nn.PixelShuffle(2), nn.ReLU(), conv(ds, ds), nn.ReLU(), conv(ds, both, 1),
        )  # fmt: skip
        # Small symbols overstate: the values that were rounded to one lie nearer to the mean. By table index.
        self.recon_shift = nn.Parameter(torch.zeros(COUNT, device="cpu"))
        self.register_buffer("dead_zone", torch.zeros(COUNT, device="cpu"), persistent=False)
        self.register_buffer("slope", slopes(self.dead_zone), persistent=False)
        self.mean_0 = conv(2 * d, m, 1)
        self.context = nn.ModuleList(Context(m, d) for _ in range(STEPS - 1))
        if not self.mean_0.weight.is_meta:  # a shape-only model has nothing to draw, and torch takes seconds to say so
            self.reset_parameters()

    @torch.no_grad()
    def round_with(self, dead_zone: Tensor) -> None:
        """What training rounds with, float32 (COUNT,), so that it sees what the encoder's default effort will send."""
        self.dead_zone.copy_(dead_zone)
        self.slope.copy_(slopes(self.dead_zone))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Random weights; residual branches start as nothing so that the main path rules."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                module.weight.mul_(0.8)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Slim):
                module.leave.weight.zero_()

    def gains(self, t: Tensor) -> Gains:
        """What the methods below take of the knobs t (N,) in [0, 1]."""
        return Gains(
            t, self.config.m, y=self.gain_y, y_inverse=self.gain_y_inverse, a=self.gain_a, s=self.gain_s,
            scale_y=self.scale_y, scale_z=self.scale_z,
        )  # fmt: skip

    # -- the transforms: what encoder and decoder run in windows

    def analyse(self, c: Tensor, gains: Gains) -> tuple[Tensor, Tensor]:
        """g_a: DCT coefficients c (N, 192, 2h, 2w) -> (y (N, m, h, w) float32 in quantisation steps,
        energies of the detail (N, ce, h, w), for `hyper_analyse`)."""
        u = self.g_a_in(c)
        y = join_quarters(self.g_a_16(self.g_a_8(u * gains.a)), self.g_a_linear(c))
        size = F.linear(to_blocks(c), self.basis).permute(0, 3, 1, 2) * gains.detail_units
        return y * gains.y, self.h_a_detail(torch.log1p(size.abs().float()))

    def predict(self, y_hat: Tensor, gains: Gains) -> Tensor:
        """g_s: y_hat (N, m, h, w) -> DCT coefficients c' (N, 192, 2h, 2w) float32, before detail is added."""
        main, linear = split_quarters(y_hat * gains.y_back, self.config.linear)
        u = self.g_s_16(main)
        u = self.g_s_8(u * gains.s)
        return self.g_s_out(u) + self.g_s_linear(linear)

    def detail(self, missing: Tensor, gains: Gains, count: int = BLOCK) -> Tensor:
        """c − c' (N, 192, 2h, 2w) -> the first `count` channels of detail (N, count, h, w) float32, in steps."""
        found = F.linear(to_blocks(missing), self.basis[:count]).permute(0, 3, 1, 2)
        return found.float() * gains.detail[:, :count]

    def undetail(self, detail: Tensor, gains: Gains) -> Tensor:
        """The inverse of `detail`, with the decoder's gains: (N, count, h, w) -> (N, 192, 2h, 2w) float32."""
        count = detail.shape[1]
        scaled = detail * gains.detail_back[:, :count]
        return from_blocks(F.linear(scaled.permute(0, 2, 3, 1), self.basis[:count].T)).float()

    def hyper_analyse(self, y: Tensor, energies: Tensor, gains: Gains) -> Tensor:
        """h_a: y and the energies of the detail -> z (N, cz, ceil(h/4), ceil(w/4)) float32. Reads y in units of
        σ_c(t), and its log-energy."""
        v = y / gains.sigma
        parts = [F.hardtanh(v, -8, 8), torch.log(v.abs() + 1) - 0.5, energies.to(v.dtype)]
        return self.h_a(torch.cat(parts, 1)).float()

    # -- the entropy model

    def step_mean(self, step: int, y_hat: Tensor, features: Tensor, sigma: Tensor) -> Tensor:
        """Means (N, m, h, w) float32 as one step sees them; `y_hat` holds zeros where nothing is reconstructed yet."""
        return self.mean_in_units(step, y_hat, features, sigma).float() * sigma

    def mean_in_units(self, step: int, y_hat: Tensor, features: Tensor, sigma: Tensor) -> Tensor:
        """The same in units of σ_c(t), in the precision of the convolutions."""
        return self.mean_layer(step)(self.before_mean(step, y_hat, features, sigma))

    def mean_layer(self, step: int) -> nn.Conv2d:
        """The last convolution of a step's means, 1x1, of what `before_mean` returns."""
        layer = self.mean_0 if step == 0 else self.context[step - 1].leave
        assert isinstance(layer, nn.Conv2d)
        return layer

    def before_mean(self, step: int, y_hat: Tensor, features: Tensor, sigma: Tensor) -> Tensor:
        """What a step's means are made of, (N, 2d or d, h, w)."""
        return features if step == 0 else self.context[step - 1](F.hardtanh(y_hat / sigma, -8, 8), features)

    def reconstruction(self, symbols: Tensor, index: Tensor) -> Tensor:
        """y_hat - mean of symbols (N, C, h, w) under table indexes (integers of that shape): inside of the symbol."""
        return symbols - symbols.clamp(-1, 1) * look_up(self.recon_shift, index)

    def refine(
        self, z_hat: Tensor, y: Tensor, gains: Gains,
        place: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The four steps on whole tensors: (y_hat, means). place(y_hat, means, mask, mean): both with what the mask
        holds."""
        height, width = y.shape[2:]
        features = self.h_s(z_hat)[:, :, :height, :width]
        sigma = gains.sigma
        y_hat, means = torch.zeros_like(y), torch.zeros_like(y)
        for step, mask in enumerate(kept_masks(y.shape[1], height, width, y.device)):
            y_hat, means = place(y_hat, means, mask, self.step_mean(step, y_hat, features, sigma))
        return y_hat, means

    def forward(self, x: Tensor, t: Tensor, hard: bool = False) -> Output:
        """Reconstruction and estimated bits.

        x: (N, 3, H, W) in [0, 1]; t: (N,) in [0, 1]. Training uses straight-through rounding for what g_s and the
        context read and uniform noise for the rates of y and z (Minnen and Singh 2020); `hard` rounds for both.
        """
        m = self.config.m
        c, gains = self.dct(x), self.gains(t)
        y, energies = self.analyse(c, gains)
        z = self.hyper_analyse(y, energies, gains)
        z_hat = z + (torch.round(z) - z).detach()
        log_scale = gains.log_scale + self.scale_net(z_hat).float()[:, :, : y.shape[2], : y.shape[3]]
        # Table 0 has no dead zone, since nothing is coded under it. Rounded without one, what is not coded would seem
        # to want symbols worth up to half of a picture's bits: it keeps the dead zone of its own table, 1 at least.
        index = table_index(log_scale.detach()).clamp_(min=1)
        index_detail = audible(index[:, m:])
        offset, shift = (look_up(table, index) for table in (0.5 - self.dead_zone, self.recon_shift))
        shift_y, shift_detail = shift.split([m, self.config.detail], 1)

        def place(y_hat: Tensor, means: Tensor, mask: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
            return Placed.apply(y_hat, means, y, shift_y, mask, mean, offset[:, :m])

        y_hat, means = self.refine(z_hat, y, gains, place)
        residual = round_off(y - means, offset[:, :m]) if hard else y - means + torch.rand_like(y) - 0.5
        predicted = self.predict(y_hat, gains)
        detail = self.detail(c - predicted, gains)
        # Where the scale is small nearly all of it is rounded away, and a straight-through gradient would claim the
        # opposite: its slope is that of the mean symbol over the value.
        moving = look_up(self.slope, index_detail) * (detail - detail.detach())
        wanted = round_off(detail.detach(), offset[:, m:])
        symbols = wanted * (index_detail > 0)
        # What is wanted where nothing is coded is lost, but its scale must hear of it: so it has a price.
        both = torch.cat([residual, (symbols if hard else wanted) + moving], 1)
        bits_y = gaussian_bits(both, log_scale, heard_from=m).sum((1, 2, 3))
        detail_hat = symbols - symbols.clamp(-1, 1) * shift_detail + moving
        noisy_z = z_hat if hard else z + torch.rand_like(z) - 0.5
        bits_z = gaussian_bits(noisy_z, gains.log_scale_z).sum((1, 2, 3))
        return Output(self.dct.inverse(predicted + self.undetail(detail_hat, gains)), bits_y, bits_z)
