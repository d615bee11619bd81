"""One step of context in training: what it reconstructs takes its place in y_hat, with a straight-through gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from jndcodec.entropy.rounding import round_off


class Placed(torch.autograd.Function):
    """(y_hat, means, y, shift, mask, mean, offset) -> (y_hat, means): where `mask` holds, with the reconstruction of y
    around the mean, and with the mean.

    All (N, m, h, w), the mask of one picture; `offset` as `round_off` takes it, `shift` moves symbols but 0 inwards.
    The gradient of what is placed in y_hat goes to y as if nothing had been rounded, and to the shift, not to the mean.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, y_hat: Tensor, means: Tensor, y: Tensor, shift: Tensor, mask: Tensor, mean: Tensor,
        offset: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        symbols = round_off(y - mean, offset)
        outwards = symbols.clamp(-1, 1)
        placed = symbols.addcmul_(outwards, shift, value=-1).add_(mean)
        ctx.save_for_backward(mask, outwards.neg_())
        return torch.where(mask, placed, y_hat), torch.where(mask, mean, means)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, means: Tensor) -> tuple[Tensor | None, ...]:
        mask, inwards = ctx.saved_tensors  # type: ignore[attr-defined]
        here = grad * mask
        # steps take each element once: what goes back to the means before stays outside of this mask by itself
        return grad - here, means, here, here * inwards, None, means * mask, None
