"""sRGB to linear light, with a gradient that costs no second power."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        base = (x.clamp_min(0.04045) + 0.055).div_(1.055)
        power = base**2.4
        dark = x <= 0.04045
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            slope = torch.where(dark, 1 / 12.92, (power / base).mul_(2.4 / 1.055))
            ctx.save_for_backward(slope)  # type: ignore[attr-defined]
        return torch.where(dark, x / 12.92, power)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * slope


def linear_light(x: Tensor) -> Tensor:
    """sRGB in [0, 1] to linear light in [0, 1], any shape."""
    return _Linear.apply(x)
