"""Values per probability table, looked up for every element."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from jndcodec.entropy.tables import COUNT, DETAIL_FROM, LOG_STEP, SCALE_MIN

PARALLEL = {"cuda"}  # devices on which additions to one address wait for each other


def table_index(log_scale: Tensor) -> Tensor:
    """The table nearest to each natural log of a scale in quantisation steps, uint8: for training and estimates.

    Coding has the exact integers of `ScaleNetwork.indexes_y` instead.
    """
    return ((log_scale - math.log(SCALE_MIN)) / LOG_STEP).round_().clamp_(0, COUNT - 1).to(torch.uint8)


def audible(index: Tensor) -> Tensor:
    """Table indexes of detail, 0 (not coded) where they are below DETAIL_FROM."""
    return index * (index >= DETAIL_FROM)


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[index]: table (COUNT,), index uint8 of any shape; four dimensions lie channels last, as in the result.

    index_select over the elements in memory order takes an eighth of the time of indexing with four dimensions.
    """
    if index.ndim != 4:
        return table[index.int()]
    last = index.permute(0, 2, 3, 1)
    return _LookUp.apply(table, last.reshape(-1).int()).view(last.shape).permute(0, 3, 1, 2)


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        return table.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return sum_by_index(grad, index, parallel=grad.device.type in PARALLEL), None


def sum_by_index(values: Tensor, index: Tensor, parallel: bool) -> Tensor:
    """(COUNT,): the sum of the values (n,) under each index (n,).

    parallel: as a product of two matrices of ones and zeros, of eight columns each, in which no two threads add to one
    address; millions of elements on COUNT addresses would wait for each other.
    """
    if not parallel:
        return values.new_zeros(COUNT).index_add(0, index, values)
    eight = torch.arange(8, device=index.device, dtype=index.dtype)
    rows = (index[:, None] >> 3 == eight) * values[:, None]
    return (rows.T @ (index[:, None] & 7 == eight).to(values.dtype)).flatten()
