"""Weights in bf16 for one step, all by one operation in place of two for each layer, forward and backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.func import functional_call

from jndcodec.model.layers import reducible


class _Cast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(_copies(weights, torch.bfloat16))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        copies = iter(_copies([grad for grad in grads if grad is not None], torch.float32))
        return tuple(None if grad is None else next(copies) for grad in grads)


def _copies(tensors: list[Tensor] | tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    made = [torch.empty_like(t, dtype=dtype) for t in tensors]
    torch._foreach_copy_(made, list(tensors))
    return made


class Bf16Weights:
    """Calls `module` with the weights of its convolutions in bf16, but for those of the main path; their gradients
    arrive in float32, as under autocast."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names = [f"{name}.{kind}" for name, _ in reducible(module) for kind in ("weight", "bias")]

    def __call__(self, *inputs: Tensor) -> Any:
        weights = [self.module.get_parameter(name) for name in self.names]
        return functional_call(self.module, dict(zip(self.names, _Cast.apply(*weights), strict=True)), inputs)
