"""One step of context in training: what it reconstructs takes its place in y_hat, with a straight-through gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from jndcodec.entropy.rounding import round_off


class Placed(torch.autograd.Function):
    """(y_hat, y, shift, mask, mean, offset) -> y_hat, where `mask` holds with the reconstruction of y around the mean.

    All (N, m, h, w), the mask of one picture; `offset` as `round_off` takes it, `shift` moves symbols but 0 inwards.
    The gradient of what is placed goes to y as if nothing had been rounded, and to the shift; none to the mean.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, y_hat: Tensor, y: Tensor, shift: Tensor, mask: Tensor, mean: Tensor, offset: Tensor
    ) -> Tensor:
        symbols = round_off(y - mean, offset)
        inwards = symbols.clamp(-1, 1)
        ctx.save_for_backward(mask, inwards)
        return torch.where(mask, symbols.addcmul_(inwards, shift, value=-1).add_(mean), y_hat)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        mask, inwards = ctx.saved_tensors  # type: ignore[attr-defined]
        here = grad * mask
        return grad - here, here, (here * inwards).neg_(), None, None, None
