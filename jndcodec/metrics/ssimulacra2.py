"""SSIMULACRA2 (version 2.1) in torch: batched and differentiable, on any device.

After Jon Sneyers, github.com/cloudinary/ssimulacra2 (BSD-3-Clause), file src/ssimulacra2.cc. Up to six scales of XYB;
in each, three error maps per channel: SSIM, artifacts (edges that the original has not) and lost detail; of each map
the mean and the 4-norm. What scores pictures and does not train has `jndcodec.metrics.arrays`.

90 is about visually lossless, 100 identical, and there is no lower end.

Two changes in the arithmetic, none in the value: the maps are computed from the difference of the pictures, so that
they are exact (and zero) near identity in float32; and one blur fewer is needed. Borders: see `blur`.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from jndcodec.metrics.blur import blur
from jndcodec.metrics.constants import BIAS, C2, OPSIN, POLYNOMIAL, POWER, SCALE, SCALES, SMALLEST, WEIGHTS
from jndcodec.metrics.light import linear_light

SPLIT = 2**19  # pixels a batch: above, one channel at a time, so that a 2 Mpx picture takes about 250 MB


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """The opsin matrix (3, 3) and the weights (108,) on a device."""
    with torch.inference_mode(False):
        return torch.tensor(OPSIN, device=device), torch.tensor(WEIGHTS, device=device).flatten()


def _xyb(light: Tensor) -> Tensor:
    """Linear RGB to XYB, scaled and shifted to be positive; (N, 3, H, W)."""
    matrix, _ = _constants(light.device)
    mixed = (matrix @ light.flatten(2)).view(light.shape) + BIAS
    root = _CubeRoot.apply(mixed.clamp_min(1e-6)) - BIAS ** (1 / 3)
    x, y, b = 0.5 * (root[:, 0] - root[:, 1]), 0.5 * (root[:, 0] + root[:, 1]), root[:, 2]
    return torch.stack([x * 14 + 0.42, y + 0.01, b - y + 0.55], 1)


def _half(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


class _CubeRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        root = x ** (1 / 3)
        ctx.save_for_backward(x, root)  # type: ignore[attr-defined]
        return root

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        x, root = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * root / (3 * x)


def _fourth_root(mean: Tensor) -> Tensor:
    """mean^(1/4), linear below 1e-20: a finite slope at 0."""
    tiny = 1e-20
    return torch.where(mean > tiny, mean.clamp_min(tiny) ** 0.25, mean * tiny**-0.75)


class _Errors(torch.autograd.Function):
    """Means of the three error maps and of their fourth powers, (N, C, 6), for planes of reference p and distorted q.

    Forward and backward are written out: half of the passes over memory, and no gradient for what p alone gives.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, p: Tensor, q: Tensor) -> Tensor:
        e = q - p
        mean_p, mean_e, power, power_e = blur(torch.cat([p, e, (p * p).addcmul_(q, q), e * e], 1)).chunk(4, 1)
        mean_q = mean_p + mean_e
        # SSIM without its luminance denominator, 1 - (1 - mean_e^2)(2 cov + C2)/(var_p + var_q + C2), in terms of e
        luminance = mean_e * mean_e
        variance = (power + C2).addcmul_(mean_p, mean_p, value=-1).addcmul_(mean_q, mean_q, value=-1)
        structure = (power_e - luminance).div_(variance)
        ssim = ((1 - luminance).mul_(structure)).add_(luminance).clamp_(min=0)
        edge_p = (p - mean_p).abs_()
        edge = (q - mean_q).abs_().sub_(edge_p).div_(edge_p.add_(1))
        ctx.save_for_backward(q, e, mean_e, mean_q, variance, structure, ssim, edge, edge_p)  # type: ignore[attr-defined]
        maps = (ssim, edge.clamp_min(0), edge.clamp(max=0).neg_())
        means = [m.mean((-2, -1)) for m in maps]
        return torch.stack(means + [m.square().square_().mean((-2, -1)) for m in maps], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[None, Tensor]:
        q, e, mean_e, mean_q, variance, structure, ssim, edge, edge_scale = ctx.saved_tensors  # type: ignore[attr-defined]
        shares = grad[..., None, None] / (q.shape[-2] * q.shape[-1])
        mean, power = shares[:, :, :3].unbind(2), (4 * shares[:, :, 3:]).unbind(2)
        to_ssim = (ssim * ssim).mul_(ssim).mul_(power[0]).add_(mean[0]).mul_(ssim > 0)
        gained = edge > 0
        to_edge = (edge * edge).mul_(edge).mul_(torch.where(gained, power[1], power[2]))
        to_edge.add_(torch.where(gained, mean[1], -mean[2])).mul_(edge != 0).div_(edge_scale)
        out = to_edge.mul_((q - mean_q).sign_())
        luminance = mean_e * mean_e
        to_power_e = (1 - luminance).mul_(to_ssim).div_(variance)
        to_luminance = (1 - structure).mul_(to_ssim).sub_(to_power_e)
        to_power = (to_power_e * structure).neg_()
        to_mean = (to_luminance * mean_e).mul_(2).sub_(out).addcmul_(to_power, mean_q, value=-2)
        through_mean, through_power, through_power_e = blur(torch.cat([to_mean, to_power, to_power_e], 1)).chunk(3, 1)
        out.add_(through_mean).addcmul_(through_power, q, value=2).addcmul_(through_power_e, e, value=2)
        return None, out


def _errors(p: Tensor, q: Tensor) -> Tensor:
    """Means and 4-norms of the three error maps for planes of reference p and distorted q: (N, C, 6)."""
    means, powers = _Errors.apply(p, q).chunk(2, -1)
    return torch.cat([means, _fourth_root(powers)], -1)


def raw(ref: Tensor, dist: Tensor) -> Tensor:
    """Weighted sum of the error maps, before the final power: 0 at identity, about 1 at score 90; shape (N,).

    `ref` and `dist` are (N, 3, H, W) sRGB in [0, 1]; the gradient is that of `dist` alone. The score is
    100 - 10 raw^0.63: its slope is infinite at identity, so train on this. Computed in float32 also under autocast; no
    host synchronisation.
    """
    with torch.autocast(ref.device.type, enabled=False):
        ref, dist = ref.float(), dist.float()
        short = SMALLEST - min(ref.shape[-2:])
        if short > 0:
            pad = (0, max(0, SMALLEST - ref.shape[-1]), 0, max(0, SMALLEST - ref.shape[-2]))
            ref, dist = F.pad(ref, pad, mode="replicate"), F.pad(dist, pad, mode="replicate")
        a, b = linear_light(ref), linear_light(dist)
        scales = []
        for scale in range(SCALES):
            if scale:
                a, b = _half(a), _half(b)
            if min(a.shape[-2:]) < SMALLEST:
                break
            p, q = _xyb(a), _xyb(b)
            parts = 3 if p.numel() > 3 * SPLIT else 1
            pairs = zip(p.chunk(parts, 1), q.chunk(parts, 1), strict=True)
            scales.append(torch.cat([_errors(*pair) for pair in pairs], 1))
        terms = torch.stack(scales, 2).flatten(1)  # channel, scale, term; with fewer scales the weights close ranks
        v = (terms * _constants(terms.device)[1][: terms.shape[1]]).sum(1) * SCALE
        return v * (POLYNOMIAL[0] + v * (POLYNOMIAL[1] + v * POLYNOMIAL[2]))


def score(ref: Tensor, dist: Tensor) -> Tensor:
    """SSIMULACRA2 of (N, 3, H, W) sRGB in [0, 1]: (N,), 100 for identical pictures."""
    v = raw(ref, dist)
    return torch.where(v > 0, 100 - 10 * v.clamp_min(1e-9) ** POWER, torch.full_like(v, 100.0))
