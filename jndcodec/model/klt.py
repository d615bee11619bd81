"""Start `jlc-vbr` as a good linear codec: the KLT of 16x16x3 blocks, reverse water-filling, least-squares decoding; and
order its detail when it ends.

From random weights the first minutes of training only reach 24-30 dB; from here they begin at 38 dB.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jndcodec.model.context import Context
from jndcodec.model.grid import BLOCK
from jndcodec.model.layers import join_quarters, to_blocks
from jndcodec.model.vbr import JlcVbr

DEAD_GAIN = 0.0025  # squared gain of a channel that is switched off at a rate
ROUNDING_NOISE = 1 / 12  # variance of the rounding error, in squared steps
GAIN_RANGE = (0.46, 4.08)  # -log of the quantisation step at t = 0 and 1, in units of [0, 1] pixels
SHARPEST = 0.75  # t at which the basis of the detail is found
BATCH = 8  # tiles at a time


def principal_components(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(energies falling, components as rows) of (blocks, numbers)."""
    blocks = blocks.double()
    values, vectors = torch.linalg.eigh(blocks.T @ blocks / len(blocks))
    return values.flip(0).clamp_min(1e-10).float(), vectors.flip(1).T.float()


@torch.no_grad()
def init_klt(model: JlcVbr, tiles: Tensor, samples: int = 40000) -> float:
    """Set the linear path of both transforms, the gains and the scales from training tiles, and `start_detail`.

    tiles: (B, 3, H, W) in [0, 1], H and W multiples of 16. Needs c8 = 192 and c16 >= m - linear. Returns the share of
    the tiles' energy that the m components of y carry.
    """
    config, m = model.config, model.config.m
    main = m - config.linear
    if config.c8 != 192 or config.c16 < main:
        raise ValueError("the KLT start needs c8 = 192 and c16 >= m - linear")
    blocks = to_blocks(model.dct(tiles)).reshape(-1, BLOCK)
    energies, components = principal_components(blocks[torch.randperm(len(blocks))[:samples]])
    basis = components[:m].reshape(m, 2, 2, 192).permute(0, 3, 1, 2)  # channel, row, column, as kernels have them
    order = torch.arange(config.linear).reshape(-1, 4).T.flatten()  # each quarter gets its share of what matters
    energies[main:m], basis[main:] = energies[main:m][order], basis[main:][order]
    for layer in (model.g_a_in, model.g_s_out):
        layer.weight.zero_()
        layer.weight[:, :, 1, 1] = torch.eye(192)
    down, last = _conv(model.g_a_16, 0), _conv(model.g_a_16, 2)
    first, up = _conv(model.g_s_16, 0), _conv(model.g_s_16, 2)
    for layer in (down, last, first, up, model.g_a_linear):
        layer.weight.zero_()
    columns = basis.reshape(m, BLOCK).T  # PixelShuffle's order: channel * 4 + 2 * row + column
    down.weight[:main, :, 1:, 1:] = basis[:main]
    last.weight[:, :main, 0, 0] = torch.eye(main)
    first.weight[:main, :, 0, 0] = torch.eye(main)
    up.weight[:, :main, 0, 0] = columns[:, :main]
    model.g_a_linear.weight[:, :, 1:, 1:] = basis[main:]
    _conv(model.g_s_linear, 0).weight[:, :, 0, 0] = columns[:, main:]
    parts = energies[:m].split([main, config.linear])
    _set_gains(model, join_quarters(*(part[None, :, None, None] for part in parts)).flatten())

    # What is learned starts near silence, so that the first steps keep the linear codec.
    steps = [module for module in model.context if isinstance(module, Context)]
    for layer in (_conv(model.scale_net, -1), model.mean_0, *(step.leave for step in steps)):
        layer.weight.mul_(0.1)
    _conv(model.h_a, -1).weight.mul_(0.3)
    start_detail(model, tiles)
    return float(energies[:m].sum() / energies.sum())


@torch.no_grad()
def start_detail(model: JlcVbr, tiles: Tensor) -> None:
    """Set W to the principal components of what the main part of a model, trained or not, misses in tiles (as for
    `init_klt`), and the detail's gains and scales to what they measure there at every rate anchor."""
    config, m = model.config, model.config.m
    _, components = principal_components(torch.cat([_missing(model, x, SHARPEST) for x in tiles.split(BATCH)]))
    model.basis.copy_(components[: config.detail])
    steps = torch.exp(-torch.linspace(*GAIN_RANGE, config.anchors))
    for anchor, step in enumerate(steps):
        t = anchor / (config.anchors - 1)
        found = torch.cat([_missing(model, x, t) for x in tiles.split(BATCH)]) @ model.basis.T
        model.scale_y.log_gain[anchor, m:] = (0.8 * found.square().mean(0).sqrt() / step).clamp_min(1e-5).log()
    model.gain_y.log_gain[:, m:] = -steps.log()[:, None]
    model.gain_y_inverse.log_gain[:, m:] = 0
    last = _conv(model.scale_net, -1)
    assert last.bias is not None
    last.weight[m:] = 0
    last.bias[m:] = 0


@torch.no_grad()
def reorder_detail(model: JlcVbr, order: Tensor) -> None:
    """Put the channels of detail into another order, int64 (detail,): the same model, and the last channels are those
    that an encoder leaves out first."""
    m, last = model.config.m, _conv(model.scale_net, -1)
    assert last.bias is not None
    model.basis.copy_(model.basis[order])
    model.h_a_detail.weight.copy_(model.h_a_detail.weight[:, order])
    for rows in (last.weight, last.bias):
        rows[m:] = rows[m:][order]
    for gain in (model.gain_y, model.gain_y_inverse, model.scale_y):
        gain.log_gain[:, m:] = gain.log_gain[:, m:][:, order]


def _conv(network: nn.Sequential, index: int) -> nn.Conv2d:
    """That layer, which the type checker knows as a module only."""
    layer = network[index]
    assert isinstance(layer, nn.Conv2d)
    return layer


def _missing(model: JlcVbr, x: Tensor, knob: float) -> Tensor:
    """Blocks (n, BLOCK) of what the rounded main part leaves of tiles at one rate."""
    gains = model.gains(x.new_full((len(x),), knob))
    c = model.dct(x)
    y, energies = model.analyse(c, gains)
    z_hat = torch.round(model.hyper_analyse(y, energies, gains))

    def place(y_hat: Tensor, means: Tensor, mask: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(mask, mean + torch.round(y - mean), y_hat), means

    y_hat, _ = model.refine(z_hat, y, gains, place)
    return to_blocks(c - model.predict(y_hat, gains)).reshape(-1, BLOCK)


def _set_gains(model: JlcVbr, energies: Tensor) -> None:
    """Gains and scales of y by reverse water-filling over the rates."""
    sigma, m = energies.sqrt(), model.config.m
    step = torch.exp(-torch.linspace(*GAIN_RANGE, model.config.anchors))[:, None]
    gate = (1 - 0.15 * (step / sigma) ** 2).clamp_min(DEAD_GAIN).sqrt()  # what costs more than it brings goes
    gain = gate / step
    energy = (sigma * gain) ** 2
    model.gain_y.log_gain[:, :m] = gain.log()
    model.gain_y_inverse.log_gain[:, :m] = (energy / (energy + ROUNDING_NOISE)).log()
    model.scale_y.log_gain[:, :m] = (0.8 * gain * sigma).clamp_min(0.05).log()
