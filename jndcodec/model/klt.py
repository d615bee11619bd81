"""Start `jlc-vbr` as a good linear codec: the KLT of 16x16x3 blocks, reverse water-filling, least-squares decoding.

From random weights the first minutes of training only reach 24-30 dB; from here they begin at 38 dB.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.model.layers import Residual
from jndcodec.model.vbr import JlcVbr

DEAD_GAIN = 0.0025  # squared gain of a channel that is switched off at a rate
ROUNDING_NOISE = 1 / 12  # variance of the rounding error, in squared steps
GAIN_RANGE = (0.46, 3.39)  # -log of the quantisation step at t = 0 and 1, in units of [0, 1] pixels


def block_coefficients(model: JlcVbr, x: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] to the DCT coefficients of their 16x16x3 blocks, (blocks, 768): channel, row,
    column of the 8x8 blocks in each."""
    return F.unfold(model.dct(x), 2, stride=2).transpose(1, 2).reshape(-1, 768)


def principal_components(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(energies falling, components as rows) of (blocks, 768)."""
    blocks = blocks.double()
    values, vectors = torch.linalg.eigh(blocks.T @ blocks / len(blocks))
    return values.flip(0).clamp_min(1e-10).float(), vectors.flip(1).T.float()


@torch.no_grad()
def init_klt(model: JlcVbr, tiles: Tensor, samples: int = 40000) -> float:
    """Set the linear path of both transforms, the gains and the scales from training tiles.

    tiles: (B, 3, H, W) in [0, 1], H and W multiples of 16. Needs c8 = 192 and c16 >= m - detail. Returns the share of
    the tiles' energy that the m kept components carry.
    """
    config = model.config
    main = config.m - config.detail
    if config.c8 != 192 or config.c16 < main:
        raise ValueError("the KLT start needs c8 = 192 and c16 >= m - detail")
    blocks = block_coefficients(model, tiles)
    energies, basis = principal_components(blocks[torch.randperm(len(blocks))[:samples]])
    eye = torch.eye(main)
    for layer in (model.g_a_in, model.g_s_out):
        layer.weight.zero_()
        layer.weight[:, :, 1, 1] = torch.eye(192)
    down, last = model.g_a_16[0], model.g_a_16[2]
    first, up = model.g_s_16[0], model.g_s_16[2]
    for layer in (down, last, first, up):
        layer.weight.zero_()
    down.weight[:main, :, 1:, 1:] = basis[:main].reshape(main, 192, 2, 2)
    last.weight[:, :main, 0, 0] = eye
    first.weight[:main, :, 0, 0] = eye
    up.weight[:, :main, 0, 0] = basis[:main].T  # PixelShuffle's order: channel * 4 + 2 * row + column
    channels = channel_order(config.m, config.detail)
    set_gains(model, channels[:main], energies[:main])
    if config.detail:
        rest = basis[main : config.m]
        set_detail(model, energies[main : config.m], rest, rest)

    # What is learned starts near silence, so that the first steps keep the linear codec.
    for layer in (model.scale_net[-1], model.mean_0, *(context.leave for context in model.context)):
        layer.weight.mul_(0.1)
    model.h_a[-1].weight.mul_(0.3)
    for module in model.modules():
        if isinstance(module, Residual):
            module.b.weight.zero_()
    return float(energies[: config.m].sum() / energies.sum())


def channel_order(m: int, detail: int) -> list[int]:
    """Where in y the channels of the main path stand, in their order, then those of detail (see `join_quarters`)."""
    quarter, part = m // 4, (m - detail) // 4
    places = [(q * quarter + i, i >= part) for q in range(4) for i in range(quarter)]
    return [c for c, is_detail in places if not is_detail] + [c for c, is_detail in places if is_detail]


@torch.no_grad()
def set_detail(model: JlcVbr, energies: Tensor, analysis: Tensor, synthesis: Tensor) -> None:
    """Detail channels: `analysis` finds and `synthesis` adds components of blocks, both (detail, 768), as rows.

    energies: mean squares of what the analysis finds, (detail,).
    """
    detail = model.config.detail
    # neighbours in energy go to different quarters, so that each has its share of what matters
    order = torch.arange(detail).reshape(-1, 4).T.flatten()
    energies = energies[order]
    model.g_a_detail.weight.zero_()
    model.g_a_detail.weight[:, :, 1:, 1:] = analysis[order].reshape(detail, 192, 2, 2)
    model.g_s_detail[0].weight[:, :, 0, 0] = synthesis[order].T
    for layer in (model.g_a_detail, model.g_s_detail[0]):
        layer.bias.zero_()
    set_gains(model, channel_order(model.config.m, detail)[-detail:], energies)


def set_gains(model: JlcVbr, channels: Sequence[int], energies: Tensor) -> None:
    """Gains and scales of some channels of y by reverse water-filling over the rates."""
    sigma = energies.sqrt()
    anchors = model.config.anchors
    step = torch.exp(-torch.linspace(*GAIN_RANGE, anchors))[:, None]
    gate = (1 - 0.15 * (step / sigma) ** 2).clamp_min(DEAD_GAIN).sqrt()  # what costs more than it brings goes
    gain = gate / step
    energy = (sigma * gain) ** 2
    model.gain_y.log_gain[:, channels] = gain.log()
    model.gain_y_inverse.log_gain[:, channels] = (energy / (energy + ROUNDING_NOISE)).log()
    model.scale_y.log_gain[:, channels] = (0.8 * gain * sigma).clamp_min(0.05).log()
