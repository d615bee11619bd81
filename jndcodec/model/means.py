"""The four steps of context on a whole picture: means, refined where each step's elements stand, in strips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.entropy.rounding import Quantise
from jndcodec.entropy.symbols import SYMBOL_LIMIT
from jndcodec.model.context import put_step, step_masks, step_means, take_step
from jndcodec.model.gains import Gains
from jndcodec.model.grid import CELL, H_S_HALO, STEPS, strips
from jndcodec.model.tiling import Span
from jndcodec.model.transforms import Transforms


class Means:
    """Both directions of the refinement with one model's transforms, of N pictures: on any device, symbols int16 and
    table indexes uint8, (N, m, h, w), and gains for all, or of each."""

    def __init__(self, transforms: Transforms) -> None:
        self.transforms, self.model = transforms, transforms.float_model

    def quantise(
        self, z_hat: Tensor, y: Tensor, gains: Gains, index: Tensor, out: Tensor, quantise: Quantise, keep: bool = True
    ) -> Tensor:
        """y_hat (N, m, h, w) of y; its symbols are written into `out`. Without `keep` it may stand in y's memory."""

        def code(span: Span, step: int, mean: Tensor) -> Tensor:
            here = _take(index[:, :, span.target], step).to(mean.device)
            residual = _take(y[:, :, span.target], step).to(mean.device) - mean
            symbols = quantise(residual, here).clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).mul_(here > 0)
            _put(out[:, :, span.target], step, symbols.to(out.device, torch.int16))
            return self.model.reconstruction(symbols, here)

        return self._refine(z_hat, out.shape[2:], gains, code, None if keep else y)

    def reconstruct(self, z_hat: Tensor, symbols: Tensor, index: Tensor, gains: Gains) -> Tensor:
        """y_hat (N, m, h, w) from symbols."""

        def code(span: Span, step: int, mean: Tensor) -> Tensor:
            coded = _take(symbols[:, :, span.target], step).to(mean.device, torch.float32)
            return self.model.reconstruction(coded, _take(index[:, :, span.target], step).to(mean.device))

        return self._refine(z_hat, symbols.shape[2:], gains, code)

    def _refine(
        self, z_hat: Tensor, size: tuple[int, ...], gains: Gains, code: Callable[[Span, int, Tensor], Tensor],
        memory: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """y_hat = code(span, step, mean) + mean, each on its step's elements, packed.

        memory: a tensor of y's shape that y_hat may be written into, whatever it holds.
        """
        rows, columns = size
        transforms, model = self.transforms, self.model
        device = transforms.device
        sigma = gains.sigma
        parts = strips(rows, columns, H_S_HALO)
        # where there are several strips, each step masks what is not reconstructed yet; else it must be zero
        if memory is None or len(parts) == 1:
            memory = transforms.new(model.config.m, rows, columns, len(z_hat))
        y_hat = memory
        features = None
        for step in range(STEPS):
            for coarse in parts:
                span = coarse.scaled(CELL)
                low, high = span.low, min(span.high, rows)
                with transforms.autocast():
                    if features is None or len(parts) > 1:  # kept between steps where one strip is all
                        features = model.h_s(z_hat[:, :, coarse.outer].to(device))[:, :, : high - low, :columns]
                    state = y_hat[:, :, low:high].to(device)
                    if len(parts) > 1:  # a neighbour strip may hold this step's elements: see the earlier steps' only
                        masks = step_masks(y_hat.shape[1], high - low, columns, device)
                        state = state * sum(masks[:step], torch.zeros_like(masks[0]))
                    p = model.before_mean(step, state, features, sigma)[:, :, span.inner]
                    mean = step_means(model.mean_layer(step), _even(p), step)
                mean = mean.float() * sigma
                _put(y_hat[:, :, span.target], step, (code(span, step, mean) + mean).to(y_hat.device))
        return y_hat


def as_tensor(array: np.ndarray) -> Tensor:
    """(h, w, C) in numpy as (1, C, h, w) in torch, or (N, h, w, C) as (N, C, h, w), sharing memory."""
    tensor = torch.from_numpy(array)
    return (tensor if array.ndim == 4 else tensor[None]).permute(0, 3, 1, 2)


def _take(x: Tensor, step: int) -> Tensor:
    """`take_step` of any h and w, which are filled up to even numbers."""
    return take_step(_even(x), step)


def _put(x: Tensor, step: int, packed: Tensor) -> None:
    """The inverse: what `_take` filled up is left out."""
    even = _even(x)
    put_step(even, step, packed)
    if even is not x:
        x.copy_(even[:, :, : x.shape[2], : x.shape[3]])


def _even(x: Tensor) -> Tensor:
    """(N, C, h, w), filled with zeros up to even h and w."""
    height, width = x.shape[2:]
    return F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x
