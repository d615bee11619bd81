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

BLOCK = 32


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
        return self._tensor(self.values)

    def _tensor(self, values: np.ndarray) -> Tensor:
        with torch.inference_mode(False):  # a cached tensor must serve training too, whoever asks first
            return torch.from_numpy(values).to(self.device)

    @cached_property
    def blocks(self) -> tuple[list[slice], Tensor] | None:
        """Columns of each block and matrices (blocks, BLOCK, width); None where the whole matrix is hardly larger."""
        out, size = self.values.shape
        count = -(-out // BLOCK)
        rows = np.pad(self.values, ((0, count * BLOCK - out), (0, 0))).reshape(count, BLOCK, size)
        used = [np.flatnonzero(block.any(0)) for block in rows]
        width = max(int(u[-1] - u[0]) + 1 for u in used)
        if count == 1 or 3 * width > 2 * size:
            return None
        starts = [min(int(u[0]), size - width) for u in used]
        columns = [slice(start, start + width) for start in starts]
        matrices = np.stack([block[:, part] for block, part in zip(rows, columns, strict=True)])
        return columns, self._tensor(matrices)

    def down(self, x: Tensor) -> Tensor:
        """Along the rows' axis: (..., in, w) -> (..., out, w)."""
        if self.blocks is None:
            return self.matrix @ x
        columns, matrices = self.blocks
        parts = torch.stack([x[..., used, :] for used in columns], -3)
        return (matrices @ parts).flatten(-3, -2)[..., : len(self.values), :]

    def across(self, x: Tensor) -> Tensor:
        """Along the last axis: (..., in) -> (..., out)."""
        if self.blocks is None:
            return x @ self.matrix.T
        columns, matrices = self.blocks
        parts = torch.stack([x[..., used] for used in columns]).flatten(1, -2)
        out = torch.bmm(parts, matrices.transpose(1, 2)).transpose(0, 1)
        return out.reshape(*x.shape[:-1], -1)[..., : len(self.values)]


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
