"""The Gaussian window of SSIM and SSIMULACRA2 (sigma 1.5, 11 taps) as banded matrix products.

Borders are those of the PyPI package `ssimulacra2`, by which SSIMULACRA2 is judged everywhere in this project:
mirrored above and below, zero to the left and right. (The C++ tool has zero on all four sides, which moves scores up
by 0.1 to 0.4 around 85 and by 1 to 2 around 45.)

The blur is its own adjoint, so its gradient is the blur of the gradient and nothing has to be kept for it. Products
with blocks of 32 samples are some 15 times faster on a CPU than a convolution of single planes, at any size.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp

import numpy as np
import torch
from torch import Tensor

from jndcodec.metrics.banded import Blocks, tensor
from jndcodec.metrics.constants import BLOCK, RADIUS, SIGMA


@lru_cache(maxsize=64)
def _window(size: int, mirrored: bool, device: torch.device, dtype: torch.dtype) -> Blocks:
    """The Gaussian along an axis of so many samples, beside which there is their mirror image, or nothing."""
    taps = np.array([exp(-0.5 * (k / SIGMA) ** 2) for k in range(-RADIUS, RADIUS + 1)])
    parts = []
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        low, high = max(0, start - RADIUS), min(size, stop + RADIUS)
        part = np.zeros((stop - start, high - low))
        for row, sample in enumerate(range(start, stop)):
            for at, tap in enumerate(taps / taps.sum(), sample - RADIUS):
                if mirrored:
                    at = -1 - at if at < 0 else min(at, 2 * size - 1 - at)
                if 0 <= at < size:
                    part[row, at - low] += tap
        parts.append((slice(low, high), tensor(part, device, dtype)))
    return Blocks(parts)


def _apply(planes: Tensor) -> Tensor:
    height, width = planes.shape[-2:]
    rows = _window(height, True, planes.device, planes.dtype)
    return _window(width, False, planes.device, planes.dtype).across(rows.down(planes))


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, planes: Tensor) -> Tensor:
        return _apply(planes)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        return blur(grad)


def blur(planes: Tensor) -> Tensor:
    """Gaussian blur of every plane of (N, C, H, W), H at least 5, float32 or float64; the same shape.

    On CUDA leave `torch.set_float32_matmul_precision` at "highest": TF32 has too few digits for local variances.
    """
    return _Blur.apply(planes)
