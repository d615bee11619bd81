"""Metrics as distortions that are minimised: 0 at identity, differentiable. Training and the encoder use the same.

Every result is (N,), one value per picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def mse_255(x_hat: Tensor, x: Tensor) -> Tensor:
    """255² MSE per picture, of (N, 3, H, W) in [0, 1]."""
    return (x_hat - x).square().mean((1, 2, 3)) * 255**2


def tone_255(x_hat: Tensor, x: Tensor) -> Tensor:
    """255² MSE of the means of 8x8 blocks: brightness and tint, which SSIMULACRA2 hardly sees."""
    return F.avg_pool2d(x_hat - x, 8, ceil_mode=True, count_include_pad=False).square().mean((1, 2, 3)) * 255**2


def distortion(metric: str) -> Callable[[Tensor, Tensor], Tensor]:
    """d(x_hat, x) -> (N,) by the metric's name: 0 at identity, differentiable."""
    if metric == "mse":
        return mse_255
    if metric == "tone":
        return tone_255
    if metric == "ms-ssim":
        from jndcodec.metrics.pixel import ms_ssim

        return lambda x_hat, x: 1 - ms_ssim(x, x_hat)
    if metric == "cvvdp":
        from jndcodec.metrics import cvvdp

        return lambda x_hat, x: cvvdp.raw(x, x_hat.clamp(0, 1))
    from jndcodec.metrics.ssimulacra2 import raw

    return lambda x_hat, x: raw(x, x_hat.clamp(0, 1))
