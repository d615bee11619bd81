"""The Gaussian window of SSIM and SSIMULACRA2 (sigma 1.5, 11 taps) as banded matrix products.

Borders are those of the PyPI package `ssimulacra2`, by which SSIMULACRA2 is judged everywhere in this project:
mirrored above and below, zero to the left and right. (The C++ tool has zero on all four sides, which moves scores up
by 0.1 to 0.4 around 85 and by 1 to 2 around 45.)

Each axis is cut into blocks of 32 samples with 5 more on either side, and every block is multiplied by one banded 32 x
42 matrix: some 10 times faster on a CPU than a convolution of single planes, at any size. The blur is its own adjoint,
so its gradient is the blur of the gradient and nothing has to be kept for it.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp

import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.metrics.constants import BLOCK, RADIUS, SIGMA


@lru_cache(maxsize=16)
def _band(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(BLOCK, BLOCK + 2 RADIUS): row i holds the taps from column i on."""
    taps = [exp(-0.5 * (k / SIGMA) ** 2) for k in range(-RADIUS, RADIUS + 1)]
    with torch.inference_mode(False):  # a cached tensor must serve training too, whoever asks first
        row = torch.tensor(taps, dtype=torch.float64) / sum(taps)
        band = torch.stack([F.pad(row, (i, BLOCK - 1 - i)) for i in range(BLOCK)])
        return band.to(device, dtype)


def _apply(planes: Tensor) -> Tensor:
    n, c, h, w = planes.shape
    band = _band(planes.device, planes.dtype)
    rows, columns = -(-h // BLOCK), -(-w // BLOCK)
    window = BLOCK + 2 * RADIUS
    x = torch.cat([planes[:, :, :RADIUS].flip(2), planes, planes[:, :, -RADIUS:].flip(2)], 2)
    x = F.pad(x, (RADIUS, RADIUS + columns * BLOCK - w, 0, rows * BLOCK - h))
    x = (x.unfold(3, window, BLOCK).reshape(-1, window) @ band.T).view(n, c, -1, columns * BLOCK)
    x = band @ x.unfold(2, window, BLOCK).transpose(-1, -2)
    return x.reshape(n, c, rows * BLOCK, columns * BLOCK)[:, :, :h, :w]


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
