"""The four steps of context in which means are refined: who goes when, and the network of the later ones.

y is cut into 2x2 cells of positions and quarters of channels; each step refines one position in every quarter, and
reads what the steps before it reconstructed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jndcodec.model.grid import CONTEXT_ORDER
from jndcodec.model.layers import conv


def step_masks(channels: int, height: int, width: int, device: torch.device) -> list[Tensor]:
    """For each of the 4 steps, (1, C, height, width) booleans: which elements of y it refines. They partition y."""
    row = torch.arange(height, device=device)[:, None] % 2
    column = torch.arange(width, device=device)[None] % 2
    cell = row * 2 + column
    quarter = channels // 4
    return [
        torch.cat([(cell == position)[None].expand(quarter, height, width) for position in order])[None].contiguous(
            memory_format=torch.channels_last
        )
        for order in CONTEXT_ORDER
    ]


@lru_cache(maxsize=2)
def kept_masks(channels: int, height: int, width: int, device: torch.device) -> list[Tensor]:
    """`step_masks`, kept: training asks for the same ones at every step."""
    with torch.inference_mode(False):  # whoever asks first, autograd must be able to save them
        return step_masks(channels, height, width, device)


def take_step(y: Tensor, step: int) -> Tensor:
    """The elements of (N, C, h, w) that one step refines, packed: (N, C, h/2, w/2), channels last. h, w: even."""
    n, channels, height, width = y.shape
    packed = y.new_empty((n, height // 2, width // 2, channels)).permute(0, 3, 1, 2)
    for part, at in _step_parts(step, channels):
        packed[:, part] = y[at]
    return packed


def put_step(y: Tensor, step: int, packed: Tensor) -> None:
    """Write what `take_step` packed back to its places in y (N, C, h, w)."""
    for part, at in _step_parts(step, y.shape[1]):
        y[at] = packed[:, part]


def _step_parts(step: int, channels: int) -> Iterator[tuple[slice, tuple[slice, ...]]]:
    """Each channel quarter, and where in (N, C, h, w) its elements of one step stand."""
    for quarter, position in enumerate(CONTEXT_ORDER[step]):
        part = slice(quarter * channels // 4, (quarter + 1) * channels // 4)
        yield part, (slice(None), part, slice(position // 2, None, 2), slice(position % 2, None, 2))


def step_means(layer: nn.Conv2d, p: Tensor, step: int) -> Tensor:
    """What `take_step` would keep of layer(p), a 1x1 convolution of p (N, d, h, w) to m channels: each quarter of them
    where it is refined alone, so a fourth of the work. (N, m, h/2, w/2); h, w: even."""
    assert layer.bias is not None
    quarters = [
        F.conv2d(p[:, :, rows, columns], layer.weight[part], layer.bias[part])
        for part, (_, _, rows, columns) in _step_parts(step, len(layer.bias))
    ]
    return torch.cat(quarters, 1)


class Context(nn.Module):
    """What the means of one later step are made of, by `leave`, from what the earlier ones reconstructed (in units of
    σ_c) and the features of z."""

    def __init__(self, m: int, d: int) -> None:
        super().__init__()
        self.enter = conv(m + 2 * d, d, 1)
        self.mix = conv(d, d)
        self.leave = conv(d, m, 1)

    def forward(self, y_units: Tensor, features: Tensor) -> Tensor:
        p = F.relu(self.enter(torch.cat([y_units.to(features.dtype), features], 1)))
        return F.relu(self.mix(p)) + p
