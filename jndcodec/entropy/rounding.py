"""Rounding with a dead zone per probability table in torch, and how it answers to a change of what is rounded."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from jndcodec.entropy.lookup import look_up
from jndcodec.entropy.tables import COUNT, LOG_STEP, SCALE_MIN

Quantise = Callable[[Tensor, Tensor], Tensor]  # (residual, index) -> symbols

STEEP = 1.0  # scale, in steps, from which on rounding follows its value one to one
THRESHOLDS = 8  # that are counted on either side


def quantiser(dead_zone: Tensor, share: float = 1.0) -> Quantise:
    """(residual, index) -> symbols, float32 of one shape with the uint8 indexes. `share` of the dead zones (float32
    (COUNT,), on the device) is used; without any it is plain rounding."""
    if share == 0:
        return lambda residual, index: torch.round(residual)
    offset = 0.5 - share * dead_zone

    return lambda residual, index: round_off(residual, look_up(offset, index))


def round_off(residual: Tensor, offset: Tensor) -> Tensor:
    """Symbols of residuals: towards 0 from |residual| + offset, which is half a step less the dead zone."""
    return torch.copysign(torch.floor(residual.abs() + offset), residual)


def slopes(dead_zone: Tensor) -> Tensor:
    """(COUNT,): the mean derivative of what `quantiser` makes of a Gaussian residual of each table's scale; 0 for
    index 0, which is not coded.

    A staircase with thresholds at T has the mean slope 2 Σ φ(T / σ) / σ (Price's theorem): nothing for small scales,
    where all is rounded away, and 1 for large ones.
    """
    index = torch.arange(COUNT, device=dead_zone.device)
    scale = SCALE_MIN * torch.exp(index * LOG_STEP)[:, None]
    threshold = torch.arange(THRESHOLDS, device=dead_zone.device) + 0.5 + dead_zone[:, None]
    slope = (torch.exp(-0.5 * (threshold / scale).square()) / scale).sum(1) * (2 / math.sqrt(2 * math.pi))
    return torch.where(scale[:, 0] < STEEP, slope.clamp(max=1.0), 1.0) * (index > 0)
