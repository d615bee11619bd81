"""Banded linear maps along the rows and columns of planes: blurs and pyramids, as products with small matrices.

A map of one axis is a (out, in) matrix whose rows have few entries, borders included. It is cut into blocks of rows,
and each block multiplies only the columns that it needs. The gradient is the same with the transposed matrices: no
scatter, nothing kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from jndcodec.metrics.constants import BLOCK


class Blocks:
    """A banded matrix (out, in), as blocks of its rows: the columns that a block reads, and (rows, columns) of it.

    A product for each block and one joining of them: a batched product would first copy all that blocks read in common.
    """

    def __init__(self, parts: list[tuple[slice, Tensor]]) -> None:
        self.parts = parts

    def down(self, x: Tensor) -> Tensor:
        """Along the rows' axis: (..., in, w) -> (..., out, w)."""
        planes = x.reshape(-1, *x.shape[-2:])
        out = torch.cat([matrix @ planes[:, used] for used, matrix in self.parts], 1)
        return out.reshape(*x.shape[:-2], *out.shape[1:])

    def across(self, x: Tensor) -> Tensor:
        """Along the last axis: (..., in) -> (..., out)."""
        rows = x.reshape(-1, x.shape[-1])
        out = torch.cat([rows[:, used] @ matrix.T for used, matrix in self.parts], 1)
        return out.reshape(*x.shape[:-1], -1)


@dataclass(frozen=True, eq=False)
class Axis:
    """One banded matrix (out, in) of float32 for a device, ready for use; keep it."""

    values: np.ndarray
    device: torch.device

    @cached_property
    def transposed(self) -> Axis:
        return Axis(np.ascontiguousarray(self.values.T), self.device)

    @cached_property
    def matrix(self) -> Tensor:
        return tensor(self.values, self.device)

    @cached_property
    def blocks(self) -> Blocks:
        """The whole matrix is one block where smaller ones would hardly read less."""
        parts = []
        for rows in np.split(self.values, range(BLOCK, len(self.values), BLOCK)):
            used = np.flatnonzero(rows.any(0))
            columns = slice(int(used[0]), int(used[-1]) + 1)
            parts.append((columns, tensor(rows[:, columns], self.device)))
        widest = max(matrix.shape[1] for _, matrix in parts)
        return Blocks([(slice(None), self.matrix)] if 3 * widest > 2 * self.values.shape[1] else parts)

    def down(self, x: Tensor) -> Tensor:
        """Along the rows' axis: (..., in, w) -> (..., out, w)."""
        return self.blocks.down(x)

    def across(self, x: Tensor) -> Tensor:
        """Along the last axis: (..., in) -> (..., out)."""
        return self.blocks.across(x)


def tensor(values: np.ndarray, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """A copy for the cache, which must serve training too, whoever asks first."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


class _Separable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, rows: Axis, columns: Axis) -> Tensor:
        ctx.axes = rows, columns  # type: ignore[attr-defined]
        return columns.across(rows.down(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        rows, columns = ctx.axes  # type: ignore[attr-defined]
        return rows.transposed.down(columns.transposed.across(grad)), None, None


def separable(x: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """(..., h, w) -> (..., h', w'): `rows` (h', h) and `columns` (w', w) applied to every plane."""
    return _Separable.apply(x, rows, columns)
