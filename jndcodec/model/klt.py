"""Start `jlc-vbr` as a good linear codec: the KLT of 16x16x3 blocks, reverse water-filling, least-squares decoding.

From random weights the first minutes of training only reach 24-30 dB; from here they begin at 38 dB.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.model.layers import Residual
from jndcodec.model.vbr import JlcVbr

DEAD_GAIN = 0.0025  # squared gain of a channel that is switched off at a rate
ROUNDING_NOISE = 1 / 12  # variance of the rounding error, in squared steps


@torch.no_grad()
def init_klt(model: JlcVbr, tiles: Tensor, samples: int = 40000) -> float:
    """Set the linear path of both transforms, the gains and the scales from training tiles.

    tiles: (B, 3, H, W) in [0, 1], H and W multiples of 16. Needs c8 = 192 and c16 >= m. Returns the share of
    the tiles' energy that the m kept components carry.
    """
    config = model.config
    if config.c8 != 192 or config.c16 < config.m:
        raise ValueError("the KLT start needs c8 = 192 and c16 >= m")
    blocks = F.unfold(model.dct(tiles - 0.5), 2, stride=2).transpose(1, 2).reshape(-1, 768)  # (channel, row, column)
    blocks = blocks[torch.randperm(len(blocks))[:samples]].double()
    values, vectors = torch.linalg.eigh(blocks.T @ blocks / len(blocks))
    values, basis = values.flip(0), vectors.flip(1)[:, : config.m].T.float()
    eye = torch.eye(config.m)
    for layer in (model.g_a_in, model.g_s_out):
        layer.weight.zero_()
        layer.weight[:, :, 1, 1] = torch.eye(192)
    down, last = model.g_a_16[0], model.g_a_16[2]
    first, up = model.g_s_16[0], model.g_s_16[2]
    for layer in (down, last, first, up):
        layer.weight.zero_()
    down.weight[: config.m, :, 1:, 1:] = basis.reshape(config.m, 192, 2, 2)
    last.weight[:, : config.m, 0, 0] = eye
    first.weight[: config.m, :, 0, 0] = eye
    up.weight[:, : config.m, 0, 0] = basis.T  # PixelShuffle's order: channel * 4 + 2 * row + column

    sigma = values[: config.m].clamp_min(1e-10).sqrt().float()
    step = torch.exp(-model.gain_y.log_gain)
    gate = (1 - 0.15 * (step / sigma) ** 2).clamp_min(DEAD_GAIN).sqrt()  # what costs more than it brings goes
    gain = gate / step
    energy = (sigma * gain) ** 2
    model.gain_y.log_gain.copy_(gain.log())
    model.gain_y_inverse.log_gain.copy_((energy / (energy + ROUNDING_NOISE)).log())
    model.scale_y.log_gain.copy_((0.8 * gain * sigma).clamp_min(0.05).log())

    # What is learned starts near silence, so that the first steps keep the linear codec.
    for layer in (model.scale_net[-1], model.mean_0, *(context.leave for context in model.context)):
        layer.weight.mul_(0.1)
    model.h_a[-1].weight.mul_(0.3)
    for module in model.modules():
        if isinstance(module, Residual):
            module.b.weight.zero_()
    return float(values[: config.m].sum() / values.sum())
