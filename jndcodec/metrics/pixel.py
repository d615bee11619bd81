"""PSNR and MS-SSIM of RGB pictures in torch, batched; MS-SSIM is differentiable."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.metrics.blur import blur
from jndcodec.metrics.constants import C1, C2, RADIUS, SCALE_WEIGHTS, WINDOW


def psnr(ref: Tensor, dist: Tensor) -> Tensor:
    """PSNR in dB over all channels, both rounded to 8 bits as a file would hold them; (N, C, H, W) in [0, 1] to (N,).

    Infinite for pictures that are equal in 8 bits.
    """
    a, b = ((x.float().clamp(0, 1) * 255).round() for x in (ref, dist))
    return -10 * torch.log10(((a - b) / 255).square().flatten(1).mean(1))


def _ssim(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean SSIM and mean contrast-structure term per channel, (N, C) each, over pixels whose window lies inside."""
    e = b - a
    x = blur(torch.cat([a, e, a * a + b * b, e * e], 1))[..., RADIUS:-RADIUS, RADIUS:-RADIUS]
    mean_a, mean_e, power, power_e = x.chunk(4, 1)
    mean_b = mean_a + mean_e
    means = mean_a * mean_a + mean_b * mean_b
    # from the difference of the pictures, so that 1 - SSIM keeps its digits near identity
    contrast = 1 - (power_e - mean_e * mean_e) / (power - means + C2)
    luminance = 1 - mean_e * mean_e / (means + C1)
    return (luminance * contrast).mean((-2, -1)), contrast.mean((-2, -1))


def ms_ssim(ref: Tensor, dist: Tensor) -> Tensor:
    """MS-SSIM, the mean over channels, of (N, C, H, W) in [0, 1]: (N,), 1 for identical pictures.

    Five scales. Sides under 161 pixels have no room for all five: as many as fit are used, with their weights scaled to
    sum to 1, so values compare among pictures of that size only. Sides of at least 11 pixels.
    """
    with torch.autocast(ref.device.type, enabled=False):
        a, b = ref.float(), dist.float()
        side = min(a.shape[-2:])
        if side < WINDOW:
            raise ValueError(f"MS-SSIM needs at least {WINDOW} x {WINDOW} pixels")
        count = sum((side - 1) // 2**s >= 2 * RADIUS for s in range(len(SCALE_WEIGHTS)))
        weights = [w / sum(SCALE_WEIGHTS[:count]) for w in SCALE_WEIGHTS[:count]]
        value = torch.ones((), device=a.device)
        for scale, weight in enumerate(weights):
            if scale:
                padding = [n % 2 for n in a.shape[-2:]]
                a, b = F.avg_pool2d(a, 2, padding=padding), F.avg_pool2d(b, 2, padding=padding)
            ssim, contrast = _ssim(a, b)
            # anticorrelated pictures can fall below 0, where the power has no value
            value = value * (ssim if scale == count - 1 else contrast).clamp_min(1e-6) ** weight
        return value.mean(1)
