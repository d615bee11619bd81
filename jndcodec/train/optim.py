"""Optimisers that never ask the device for a number, so that a GPU step can be one CUDA graph.

Learning rates are tensors, and a step that must not count is done with `keep` = 0, which leaves everything as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
BETAS = (0.9, 0.99)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan, "Muon: an optimizer for hidden layers", 2024
SMALLEST = 128  # rows of the small matrices: below it filling up is cheaper than operations of their own
GAIN_RATE = 3.0  # gains learn three times as fast as what else Adam has
MUON_TO_ADAM = 0.4  # Adam's rate for what Muon does not take, as a share of Muon's


def orthogonalise(
    stacks: list[Tensor], dtype: torch.dtype, scale: Tensor | float = 1.0, factors: Sequence[float] = (), steps: int = 5
) -> list[Tensor]:
    """About factor · scale · U Vᵀ of each matrix of each stack (B, rows, columns), one factor a stack (default 1).

    A Newton-Schulz iteration with singular values near 1. Every step multiplies X by a polynomial P of X Xᵀ, so only
    the small matrices X Xᵀ and P are iterated: those of all stacks together, filled up with zeros to a power of two,
    SMALLEST at least, which change nothing. They are float32: in less, X Xᵀ gets negative eigenvalues, which grow
    without end. The last product is in `dtype`.
    """
    wide = [x.shape[1] <= x.shape[2] for x in stacks]
    grams = [x @ x.mT if w else x.mT @ x for x, w in zip(stacks, wide, strict=True)]
    products: list[Tensor] = [x.new_empty(gram.shape, dtype=dtype) for x, gram in zip(stacks, grams, strict=True)]
    by_size: dict[int, list[int]] = defaultdict(list)
    for i, gram in enumerate(grams):
        by_size[max(SMALLEST, 1 << (gram.shape[1] - 1).bit_length())].append(i)
    for size, members in by_size.items():
        counts = [len(grams[i]) for i in members]
        whole = grams[members[0]].new_zeros(sum(counts), size, size)
        places = [part[:, : grams[i].shape[1], : grams[i].shape[1]] for i, part in _parts(members, whole.split(counts))]
        torch._foreach_copy_(places, [grams[i] for i in members])
        polynomials = _polynomials(whole, scale, steps).split(counts)
        torch._foreach_copy_(
            [products[i] for i in members],
            [part[:, : grams[i].shape[1], : grams[i].shape[1]] for i, part in _parts(members, polynomials)],
        )
    xs = stacks
    if dtype != stacks[0].dtype:
        xs = [torch.empty_like(x, dtype=dtype) for x in stacks]
        torch._foreach_copy_(xs, stacks)
    nothing = xs[0].new_empty(())
    updates = [
        torch.baddbmm(nothing, *((p, x) if w else (x, p)), beta=0, alpha=factor)
        for p, x, w, factor in zip(products, xs, wide, factors or [1.0] * len(xs), strict=True)
    ]
    if dtype == stacks[0].dtype:
        return updates
    results = [torch.empty_like(x) for x in stacks]
    torch._foreach_copy_(results, updates)
    return results


def _parts(members: list[int], parts: Sequence[Tensor]) -> Iterable[tuple[int, Tensor]]:
    return zip(members, parts, strict=True)


def _polynomials(gram: Tensor, scale: Tensor | float, steps: int) -> Tensor:
    """The product of all steps' polynomials, over the norm of X, times `scale`; gram = X Xᵀ (B, n, n) is used up."""
    a, b, c = NEWTON_SCHULZ
    square = gram.diagonal(dim1=1, dim2=2).sum(1)
    inverse = 1 / (square.sqrt() + 1e-7)[:, None, None]
    gram = gram.mul_(inverse.square())
    product = None
    for step in range(steps):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        product = polynomial if product is None else polynomial @ product
        if step < steps - 1:
            gram = polynomial @ gram @ polynomial
    assert product is not None  # there is a step
    return product * (inverse * scale)


class Optimizer(torch.optim.Optimizer):
    """Muon on the groups of kind "muon" (kernels as matrices: outputs x the rest), Adam on those of kind "adam".

    Every group has `lr`, its peak rate; `step(scale, keep)` multiplies it with the schedule's factor.
    """

    def __init__(self, groups: list[dict[str, Any]], newton_schulz_dtype: torch.dtype = torch.float32) -> None:
        super().__init__([group for group in groups if group["params"]], {"kind": "adam"})
        self.newton_schulz_dtype = newton_schulz_dtype
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {"momentum": torch.zeros_like(p)}
                if group["kind"] == "adam":
                    self.state[p]["square"] = torch.zeros_like(p)
            first = group["params"][0]  # the parameters of a group step together: one count for all
            self.state[first]["count"] = first.new_zeros(())

    @torch.no_grad()
    def step(self, scale: Tensor, keep: Tensor) -> None:  # type: ignore[override]
        """One update. scale, keep: 0-dimensional tensors on the parameters' device; gradients must be finite."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            rate = group["lr"] * scale * keep
            if group["kind"] == "muon":
                self._muon(params, rate, keep)
            else:
                count = self.state[group["params"][0]]["count"].add_(keep)
                self._adam(params, rate, keep, count)

    def _muon(self, params: list[Tensor], rate: Tensor, keep: Tensor) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        momenta = [self.state[p]["momentum"] for p in params]
        _lerp(momenta, grads, keep * (1 - MOMENTUM))
        nesterov = torch._foreach_lerp(grads, momenta, MOMENTUM)
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, p in enumerate(params):
            by_shape[p.shape[0], p.numel() // p.shape[0]].append(i)
        stacks = [params[0].new_empty(len(members), *shape) for shape, members in by_shape.items()]
        order = [i for members in by_shape.values() for i in members]
        torch._foreach_copy_([matrix for x in stacks for matrix in x], [_matrix(nesterov[i], params[i]) for i in order])
        factors = [max(1, rows / columns) ** 0.5 for rows, columns in by_shape]
        updates = orthogonalise(stacks, self.newton_schulz_dtype, -rate, factors)
        torch._foreach_add_(
            [_matrix(params[i], params[i]) for i in order], [matrix for update in updates for matrix in update]
        )

    def _adam(self, params: list[Tensor], rate: Tensor, keep: Tensor, count: Tensor) -> None:
        if not params:
            return
        grads = [p.grad for p in params if p.grad is not None]
        momenta = [self.state[p]["momentum"] for p in params]
        squares = [self.state[p]["square"] for p in params]
        _lerp(momenta, grads, keep * (1 - BETAS[0]))
        _lerp(squares, list(torch._foreach_mul(grads, grads)), keep * (1 - BETAS[1]))
        n = count.clamp_min(1)  # a first step that is left out must not divide by zero
        size = torch._foreach_sqrt(squares)
        torch._foreach_mul_(size, (1 - BETAS[1] ** n).rsqrt())
        torch._foreach_add_(size, 1e-8)
        update = torch._foreach_div(momenta, size)
        torch._foreach_mul_(update, -rate / (1 - BETAS[0] ** n))
        torch._foreach_add_(params, update)


def in_memory_order(t: Tensor, p: Tensor) -> Tensor:
    """t, of p's shape, with the axes in the order of p's memory: channels last or as they are."""
    last = p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last)
    return t.permute(0, 2, 3, 1) if last else t


def _matrix(t: Tensor, p: Tensor) -> Tensor:
    """A kernel-shaped t as a matrix, outputs x the rest: a view of it, where it is laid out as p."""
    return in_memory_order(t, p).reshape(t.shape[0], -1)


def _lerp(state: list[Tensor], target: list[Tensor], weight: Tensor) -> None:
    """state += weight (target - state), for a weight on the device."""
    change = torch._foreach_sub(target, state)
    torch._foreach_mul_(change, weight)
    torch._foreach_add_(state, change)


def build_optimizer(kind: str, named: Iterable[tuple[str, nn.Parameter]], lr: float, fast_bf16: bool) -> Optimizer:
    """Kind "muon": kernels by Muon at `lr`, the rest by Adam at 0.4 `lr`, gains thrice that. "adam": all at `lr`."""
    kernels: list[nn.Parameter] = []
    gains: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, p in named:
        if p.requires_grad:
            part = kernels if p.ndim == 4 and kind == "muon" else gains if "log_gain" in name else rest
            part.append(p)
    adam_lr = lr * MUON_TO_ADAM if kind == "muon" else lr
    groups = [
        {"params": kernels, "kind": "muon", "lr": lr},
        {"params": rest, "kind": "adam", "lr": adam_lr},
        {"params": gains, "kind": "adam", "lr": adam_lr * (GAIN_RATE if kind == "muon" else 1.0)},
    ]
    return Optimizer(groups, torch.bfloat16 if fast_bf16 else torch.float32)
