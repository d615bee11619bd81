"""The integer twin of the float scale network: made at export, read back for training on."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from jndcodec.entropy.scale_network import ACTIVATION_BITS, WEIGHT_BITS, IntegerConv, ScaleNetwork
from jndcodec.entropy.tables import COUNT, LOG_STEP, SCALE_MIN


def quantise_network(network: nn.Sequential) -> list[IntegerConv]:
    """Integer twin of a float scale network (Conv2d, PixelShuffle(2), ReLU; answers in natural-log units)."""
    modules = list(network)
    convolutions = [(i, module) for i, module in enumerate(modules) if isinstance(module, nn.Conv2d)]
    layers = []
    for i, module in convolutions:
        assert module.bias is not None
        weight, bias = (part.detach().cpu().double().numpy() for part in (module.weight, module.bias))
        if i == convolutions[-1][0]:
            weight, bias = weight / LOG_STEP, bias / LOG_STEP
        shift = math.floor(math.log2(2**WEIGHT_BITS / np.abs(weight).max()))
        following = modules[i + 1 : i + 3]
        layers.append(
            IntegerConv(
                np.round(weight * 2.0**shift),
                np.round(bias * 2.0 ** (shift + ACTIVATION_BITS)),
                shift,
                upsample=any(isinstance(m, nn.PixelShuffle) for m in following),
                relu=any(isinstance(m, nn.ReLU) for m in following),
            )
        )
    return layers


def quantise_log_scale(log_gain: Tensor) -> np.ndarray:
    """log σ_c at the rate anchors (K, C) as integers in table steps with ACTIVATION_BITS fractional bits."""
    steps = (log_gain.detach().cpu().double().numpy() - math.log(SCALE_MIN)) / LOG_STEP
    limit = 4 * COUNT * 2.0**ACTIVATION_BITS  # far outside the tables either way
    return np.clip(np.round(steps * 2.0**ACTIVATION_BITS), -limit, limit)


def dequantised_parameters(network: ScaleNetwork, template: nn.Sequential) -> dict[str, Tensor]:
    """State dict of the float scale network whose integer twin this is, for training on."""
    state = {}
    convolutions = [(i, module) for i, module in enumerate(template) if isinstance(module, nn.Conv2d)]
    for (i, _), layer in zip(convolutions, network.layers, strict=True):
        unit = LOG_STEP if layer is network.layers[-1] else 1.0
        state[f"{i}.weight"] = torch.from_numpy(layer.weight * 2.0**-layer.shift * unit).float()
        state[f"{i}.bias"] = torch.from_numpy(layer.bias * 2.0 ** -(layer.shift + ACTIVATION_BITS) * unit).float()
    return state
