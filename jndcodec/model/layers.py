"""Building blocks of `jlc-vbr`: slim block, rate gains, and the 8x8 DCT that stands between pixels and channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


def _is_reduced(x: Tensor) -> bool:
    """Whether convolutions of x run in less than float32 here."""
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


class FullConv(nn.Conv2d):
    """A convolution of the main path: in float32 whatever precision the rest runs in, with a float32 answer.

    What it carries are the picture's own numbers, and bf16 has eight bits for them; the branches beside it, three
    quarters of the work, only add small corrections. Of a 3x3 with stride 1 that is the middle tap alone, which has
    93 % of its energy: the eight around it are as the rest. docs/DESIGN.md, "Precision", has what it is worth.
    """

    def forward(self, x: Tensor) -> Tensor:
        reduced = _is_reduced(x)
        with torch.autocast(x.device.type, enabled=False):
            if not reduced or self.kernel_size == (1, 1) or self.stride != (1, 1):
                return super().forward(x.float())
            middle = F.conv2d(x.float(), self.weight[:, :, 1:2, 1:2], self.bias)
        around = self.weight.clone()
        around[:, :, 1, 1] = 0
        return middle + F.conv2d(x, around, padding=1)


def conv(c_in: int, c_out: int, kernel: int = 3, stride: int = 1, kind: type[nn.Conv2d] = nn.Conv2d) -> nn.Conv2d:
    """Convolution that keeps the size (divided by `stride`)."""
    return kind(c_in, c_out, kernel, stride, padding=kernel // 2)


full_conv = partial(conv, kind=FullConv)


def reducible(module: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """The convolutions in `module` that may run in less than float32, by name."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d) and not isinstance(part, FullConv):
            yield name, part


class Slim(nn.Module):
    """x + a narrow branch of two non-linearities; the main path stays linear, and float32."""

    REACH = 0.1  # of the branch: what starts at nothing must not shake the main path while it learns

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = conv(channels, width, 1)
        self.mix = conv(width, width)
        self.leave = conv(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, h = _Fork.apply(x) if _is_reduced(x) else (x, x)
        h = F.leaky_relu(self.enter(h), 0.1, inplace=True)  # fresh memory costs more than the arithmetic here
        h = F.leaky_relu(self.mix(h), 0.1, inplace=True)
        return _Join.apply(x, self.leave(h), self.REACH)


class _Fork(torch.autograd.Function):
    """x, and x as autocast casts it for a branch. What comes back from both is added in one pass, not cast before."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.view_as(x), x.to(torch.get_autocast_dtype(x.device.type))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, branch: Tensor) -> Tensor:
        return grad + branch


class _Join(torch.autograd.Function):
    """x + reach * branch; the branch's gradient is scaled and cast in one pass."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, branch: Tensor, reach: float) -> Tensor:
        ctx.reach, ctx.dtype = reach, branch.dtype  # type: ignore[attr-defined]
        return torch.add(x, branch, alpha=reach)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        branch = torch.empty_like(grad, dtype=ctx.dtype)  # type: ignore[attr-defined]
        return grad, torch.mul(grad, ctx.reach, out=branch), None  # type: ignore[attr-defined]


def slims(channels: int, width: int, count: int) -> nn.Sequential:
    """`count` slim blocks of `width`."""
    return nn.Sequential(*(Slim(channels, width) for _ in range(count)))


def join_quarters(y: Tensor, linear: Tensor) -> Tensor:
    """(N, C, h, w) and (N, D, h, w) to (N, C + D, h, w): each quarter is a quarter of y, then one of the linear part.

    Channels last, as what `split_quarters` returns.
    """
    parts = [part.permute(0, 2, 3, 1).unflatten(3, (4, -1)) for part in (y, linear)]  # stays channels last
    return torch.cat(parts, 4).flatten(3).permute(0, 3, 1, 2)


def split_quarters(y: Tensor, linear: int) -> tuple[Tensor, Tensor]:
    """What `join_quarters` joined; `linear` is D."""
    quarters = y.permute(0, 2, 3, 1).unflatten(3, (4, -1))
    kept = quarters.shape[4] - linear // 4
    main, rest = (part.flatten(3).permute(0, 3, 1, 2) for part in (quarters[..., :kept], quarters[..., kept:]))
    return main, rest


def to_blocks(u: Tensor) -> Tensor:
    """(N, C, 2h, 2w) -> (N, h, w, 4C): the numbers of each 2x2 cell in one row, by row, column, channel."""
    n, channels, height, width = u.shape
    cells = u.permute(0, 2, 3, 1).reshape(n, height // 2, 2, width // 2, 2, channels)
    return cells.transpose(2, 3).reshape(n, height // 2, width // 2, 4 * channels)


def from_blocks(blocks: Tensor) -> Tensor:
    """The inverse of `to_blocks`, channels last in memory."""
    n, height, width, numbers = blocks.shape
    cells = blocks.reshape(n, height, width, 2, 2, numbers // 4).transpose(2, 3)
    return cells.reshape(n, height * 2, width * 2, numbers // 4).permute(0, 3, 1, 2)


def dct_basis() -> Tensor:
    """The 64 orthonormal basis pictures of the 8x8 DCT-II, (64, 1, 8, 8)."""
    i = torch.arange(8, device="cpu").float()
    d = torch.cos(math.pi * (i[None] + 0.5) * i[:, None] / 8) * math.sqrt(2 / 8)
    d[0] /= math.sqrt(2)
    return torch.einsum("ab,cd->acbd", d, d).reshape(64, 1, 8, 8)


class BlockDct(nn.Module):
    """Pixels (N, 3, H, W) in [0, 1], less 0.5, to DCT coefficients (N, 192, H/8, W/8), and back with `inverse`.

    Always float32: bf16's 8 bits of precision are too few for pixels, whatever precision the rest runs in.
    """

    basis: Tensor
    centre: Tensor
    grey: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", dct_basis().reshape(64, 64), persistent=False)
        self.register_buffer("centre", -0.5 * self.basis.sum(1), persistent=False)  # the coefficients of -0.5
        self.register_buffer("grey", -(self.centre @ self.basis), persistent=False)  # 0.5, through both

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        with torch.autocast(x.device.type, enabled=False):
            blocks = x.float().reshape(n, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 1, 3, 5).reshape(-1, 64)
            # a matrix product: 10 times as fast on a CPU as the convolution that it is
            u = F.linear(blocks, self.basis, self.centre)
        return u.reshape(n, h // 8, w // 8, c * 64).permute(0, 3, 1, 2)

    def inverse(self, u: Tensor) -> Tensor:
        n, c, h, w = u.shape
        with torch.autocast(u.device.type, enabled=False):
            blocks = u.float().permute(0, 2, 3, 1).reshape(-1, 64)
            blocks = F.linear(blocks, self.basis.T, self.grey)
        return blocks.reshape(n, h, w, c // 64, 8, 8).permute(0, 3, 1, 4, 2, 5).reshape(n, c // 64, h * 8, w * 8)


def gaussian_bits(residual: Tensor, log_scale: Tensor, heard_from: int | None = None) -> Tensor:
    """Bits of each `residual` (N, C, …), in quantisation steps, under a zero-mean Gaussian integrated over one step.

    The scale is limited to what the tables hold (`SCALE_MIN`, `SCALE_MAX` of jndcodec.entropy.tables). One below them
    has no gradient, but in the channels from `heard_from` on that of the smallest, so that it can find back.
    """
    return _GaussianBits.apply(residual, log_scale, heard_from)


class _GaussianBits(torch.autograd.Function):
    """Both slopes are computed with the value, in place: a third of the passes over memory."""

    @staticmethod
    def forward(ctx: FunctionCtx, residual: Tensor, log_scale: Tensor, heard_from: int | None) -> Tensor:
        limits, least = (math.log(0.11), math.log(256.0)), 1e-9
        inverse = log_scale.clamp(*limits).neg_().exp_().mul_(2**-0.5)
        v = residual.abs()
        near, far = (v - 0.5).mul_(inverse), (v + 0.5).mul_(inverse)  # ends of the step, in sqrt(2) scales
        p = torch.erfc(near).sub_(torch.erfc(far)).mul_(0.5)
        bits = p.clamp_min(least).log2_().neg_()
        if any(ctx.needs_input_grad):  # type: ignore[attr-defined]
            ctx.shape = log_scale.shape  # type: ignore[attr-defined]
            factor = (p > least) / p.mul_(math.log(2) * math.sqrt(math.pi)).clamp_(min=least)
            at_near, at_far = (end.square().neg_().exp_() for end in (near, far))
            by_residual = (at_near - at_far).mul_(inverse).mul_(factor).copysign_(residual)
            by_scale = at_far.mul_(far).sub_(at_near.mul_(near)).mul_(factor)
            by_scale.mul_(log_scale <= limits[1])
            by_scale[:, :heard_from].mul_(log_scale[:, :heard_from] >= limits[0])
            ctx.save_for_backward(by_residual, by_scale)
        return bits

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        by_residual, by_scale = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * by_residual, (grad * by_scale).sum_to_size(ctx.shape), None  # type: ignore[attr-defined]
