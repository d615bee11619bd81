"""The exact part of the model: from z to the table index of every element of y, in integers carried by float64.

The index decides which table a symbol is coded with, so both sides must compute the same one on any machine, with any
thread count and any BLAS. All values here are integers, and the largest partial sum that can occur is proved at export
to stay below 2^53; float64 adds such numbers without rounding, in any order. A convolution is the sum of a matrix
product for each of its taps (no Winograd, no FFT); between layers: add half, shift right, clamp, which is exact too.
It always runs on the CPU.

Number formats: weights int16 with `shift` fractional bits; activations at most 16 bits with ACTIVATION_BITS fractional
bits; biases with both; what comes out is in table steps with ACTIVATION_BITS fractional bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jndcodec.entropy.tables import COUNT, LOG_STEP, SCALE_MIN
from jndcodec.errors import ModelError

ACTIVATION_BITS = 8
ACTIVATION_LIMIT = 2**15 - 1
WEIGHT_BITS = 14  # the largest weight of a layer takes this many bits besides its sign
EXACT_BITS = 53  # float64 holds every integer below 2^53
T_MAX = 65535  # the rate knob t = 1 in the header


@dataclass(frozen=True)
class IntegerConv:
    """weight (C_out, C_in, k, k) and bias (C_out,), integers in float64; `shift` fractional bits of the weights.

    `upsample`: a PixelShuffle(2) follows. `relu`: negative results become 0.
    """

    weight: Tensor
    bias: Tensor
    shift: int
    upsample: bool
    relu: bool

    def bound(self) -> float:
        """log2 of the largest partial sum that any input can cause, rounding and the added half included."""
        largest = self.weight.abs().sum((1, 2, 3)) * ACTIVATION_LIMIT + self.bias.abs() + 2.0**self.shift
        return math.log2(largest.max().item())

    def __call__(self, x: Tensor) -> Tensor:
        """(C_in, h, w) -> (C_out, h, w), or (C_out / 4, 2h, 2w)."""
        y = self._pointwise(x) if self.weight.shape[2] == 1 else self._spatial(x)
        y = y.add_(2.0 ** (self.shift - 1)).mul_(2.0**-self.shift).floor_()
        y = y.clamp_(0 if self.relu else -ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        return F.pixel_shuffle(y, 2) if self.upsample else y

    def _pointwise(self, x: Tensor) -> Tensor:
        """One product; channels last in memory, as the indexes are needed."""
        y = torch.addmm(self.bias, x.flatten(1).T, self.weight[:, :, 0, 0].T)
        return y.view(*x.shape[1:], -1).permute(2, 0, 1)

    def _spatial(self, x: Tensor) -> Tensor:
        """A product for each tap. Rows of the padded input lie one after the other, so that each tap reads a contiguous
        piece; what a row's end reads of the next row is cut off, and the last row needs `margin` more."""
        _, height, width = x.shape
        kernel, margin = self.weight.shape[2], self.weight.shape[2] // 2
        wide = width + 2 * margin
        flat = F.pad(F.pad(x, (margin, margin, margin, margin)).flatten(1), (0, 2 * margin))
        y = self.bias[:, None].repeat(1, height * wide)
        for row in range(kernel):
            for column in range(kernel):
                start = row * wide + column
                y.addmm_(self.weight[:, :, row, column], flat[:, start : start + height * wide])
        return y.view(-1, height, wide)[..., :width]


class ScaleNetwork:
    """z, and per channel and rate tables, to table indexes. The same function for both directions."""

    def __init__(self, layers: list[IntegerConv], index_y: Tensor, index_z: Tensor) -> None:
        """index_y (K, m), index_z (K, cz): usual table index per rate anchor and channel, integers in float64 with
        ACTIVATION_BITS fractional bits. Raises ModelError where float64 could round."""
        self.layers, self.index_y, self.index_z = layers, index_y, index_z
        self.bound = max(layer.bound() for layer in layers)
        if self.bound >= EXACT_BITS:
            raise ModelError(f"the scale network's sums can reach 2^{self.bound:.1f}, where float64 is not exact")

    def indexes_z(self, t: int) -> np.ndarray:
        """Table index per channel of z at rate t (0 … 65535): uint8 (cz,)."""
        return _to_index(_interpolate(self.index_z, t)).numpy()

    def indexes_y(self, z: Tensor, t: int) -> np.ndarray:
        """z (1, cz, h, w) integers -> table index of every element of y, uint8 (4h, 4w, m), channels last."""
        x = z[0].to("cpu", torch.float64) * 2.0**ACTIVATION_BITS
        x = x.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        for layer in self.layers:
            x = layer(x)
        return _to_index(x.add_(_interpolate(self.index_y, t)[:, None, None])).permute(1, 2, 0).contiguous().numpy()


def _interpolate(anchors: Tensor, t: int) -> Tensor:
    """(K, C) integers at rate t of 65535, linear between anchors, rounded to nearest: integer arithmetic throughout.

    Every term is below 2^16 * 2^17 = 2^33, exact in int64.
    """
    position = t * (len(anchors) - 1)
    left = min(position // T_MAX, len(anchors) - 2)
    fraction = position - left * T_MAX
    low, high = anchors[left].long(), anchors[left + 1].long()
    return torch.div(low * (T_MAX - fraction) + high * fraction + T_MAX // 2, T_MAX, rounding_mode="floor").double()


def _to_index(x: Tensor) -> Tensor:
    """Round away the fractional bits and limit to the tables there are. Overwrites x."""
    return (
        x.add_(2.0 ** (ACTIVATION_BITS - 1)).mul_(2.0**-ACTIVATION_BITS).floor_().clamp_(0, COUNT - 1).to(torch.uint8)
    )


def quantise_network(network: nn.Sequential) -> list[IntegerConv]:
    """Integer twin of a float scale network (Conv2d, PixelShuffle(2), ReLU; answers in natural-log units)."""
    modules = list(network)
    convolutions = [i for i, module in enumerate(modules) if isinstance(module, nn.Conv2d)]
    layers = []
    for i in convolutions:
        module = modules[i]
        weight, bias = module.weight.detach().double().cpu(), module.bias.detach().double().cpu()
        if i == convolutions[-1]:
            weight, bias = weight / LOG_STEP, bias / LOG_STEP
        shift = math.floor(math.log2(2**WEIGHT_BITS / weight.abs().max().item()))
        following = modules[i + 1 : i + 3]
        layers.append(
            IntegerConv(
                torch.round(weight * 2.0**shift),
                torch.round(bias * 2.0 ** (shift + ACTIVATION_BITS)),
                shift,
                upsample=any(isinstance(m, nn.PixelShuffle) for m in following),
                relu=any(isinstance(m, nn.ReLU) for m in following),
            )
        )
    return layers


def quantise_log_scale(log_gain: Tensor) -> Tensor:
    """log σ_c at the rate anchors (K, C) as integers in table steps with ACTIVATION_BITS fractional bits."""
    steps = (log_gain.detach().double().cpu() - math.log(SCALE_MIN)) / LOG_STEP
    limit = 4 * COUNT * 2.0**ACTIVATION_BITS  # far outside the tables either way
    return torch.round(steps * 2.0**ACTIVATION_BITS).clamp(-limit, limit)


def dequantised_parameters(network: ScaleNetwork, template: nn.Sequential) -> dict[str, Tensor]:
    """State dict of the float scale network whose integer twin this is, for training on."""
    state = {}
    convolutions = [(i, module) for i, module in enumerate(template) if isinstance(module, nn.Conv2d)]
    for (i, _), layer in zip(convolutions, network.layers, strict=True):
        unit = LOG_STEP if layer is network.layers[-1] else 1.0
        state[f"{i}.weight"] = (layer.weight * 2.0**-layer.shift * unit).float()
        state[f"{i}.bias"] = (layer.bias * 2.0 ** -(layer.shift + ACTIVATION_BITS) * unit).float()
    return state
