"""Give a trained `jlc-vbr` what it was trained without, and keep everything it has learned.

Detail channels start as the principal components of what the model's y cannot carry, even unquantised; slim blocks
start as nothing. The rest of the model computes what it did before.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor

from jndcodec.errors import InputError
from jndcodec.model.klt import block_coefficients, channel_order, principal_components, set_detail
from jndcodec.model.vbr import JlcVbr

BATCH = 8  # tiles at a time


@torch.no_grad()
def add_detail(model: JlcVbr, detail: int, tiles: Tensor) -> JlcVbr:
    """A model with `detail` channels more (a multiple of 4), started from the error that `model` makes on tiles.

    tiles: (B, 3, H, W) in [0, 1], H and W multiples of 64. InputError where the model has detail channels already.
    """
    if model.config.detail:
        raise InputError("the weights have detail channels already; their number cannot change")
    if detail < 4 or detail % 4:
        raise InputError("--config detail must be a multiple of 4")
    wide = JlcVbr(replace(model.config, m=model.config.m + detail, detail=detail))
    state = wide.state_dict()
    for name, value in model.state_dict().items():
        places = [_places(*sizes, model.config.m, detail) for sizes in zip(value.shape, state[name].shape, strict=True)]
        state[name].zero_()
        state[name][torch.meshgrid(*places, indexing="ij")] = value
    wide.load_state_dict(state)
    set_detail(wide, *_missing(model, tiles, detail))
    return wide


@torch.no_grad()
def add_slim(model: JlcVbr, h8: int, h16: int) -> JlcVbr:
    """A model with slim blocks of these widths after the residual ones, which computes what `model` does.

    InputError where the model has slim blocks already.
    """
    if model.config.h8 or model.config.h16:
        raise InputError("the weights have slim blocks already; their widths cannot change")
    deep = JlcVbr(replace(model.config, h8=h8, h16=h16))
    state = deep.state_dict()  # new slim blocks end in zeros
    for name, value in model.state_dict().items():
        state[_beside_slim(name, h8, h16)] = value
    deep.load_state_dict(state)
    return deep


def _beside_slim(name: str, h8: int, h16: int) -> str:
    """Where a parameter of the residual blocks stands once each is followed by a slim block."""
    parts = re.fullmatch(r"(g_[as]_8|g_[as]_16\.1)\.(\d+)\.(.*)", name)
    if not parts or not (h8 if "_8" in parts[1] else h16):
        return name
    return f"{parts[1]}.{2 * int(parts[2])}.{parts[3]}"


def _places(size: int, wide: int, m: int, detail: int) -> Tensor:
    """Where the entries of a dimension of `size` go in the wide model's.

    A dimension that grows begins with y's channels, once or (h_a reads values, then log-energies) twice.
    """
    repeats = (wide - size) // detail
    kept = channel_order(m + detail, detail)[:m]
    grown = [repeat * (m + detail) + place for repeat in range(repeats) for place in kept]
    return torch.tensor(grown + list(range(repeats * (m + detail), wide)))


def _missing(model: JlcVbr, tiles: Tensor, detail: int) -> tuple[Tensor, Tensor, Tensor]:
    """(energies, analysis, synthesis) of the components of blocks that unquantised y at t = 1 leaves out."""
    blocks, errors = [], []
    for x in tiles.split(BATCH):
        t = x.new_ones(len(x))
        blocks.append(block_coefficients(model, x))
        errors.append(blocks[-1] - block_coefficients(model, model.synthesise(model.analyse(x, t), t)))
    x, error = torch.cat(blocks).double(), torch.cat(errors).double()
    _, synthesis = principal_components(error)
    synthesis = synthesis[:detail]
    gram = x.T @ x
    gram += 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    analysis = torch.linalg.solve(gram, x.T @ (error @ synthesis.double().T)).T  # what of the error x tells linearly
    return (x @ analysis.T).square().mean(0).clamp_min(1e-10).float(), analysis.float(), synthesis
