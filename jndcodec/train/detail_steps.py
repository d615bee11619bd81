"""The quantisation steps of detail, set at export for the fewest bits that files really have.

Training sees the bits of detail through a slope that rounding does not have, and leaves its steps too fine at middle
rates, where next to nothing of it should be coded. But detail is linear, has no context, and nothing is computed from
it: what a channel costs and misses under another step are exact sums over its own elements. So R + λ D is minimised
per channel and rate anchor, D being squared error as the distortion that the model was trained for weighs it there:
with errors e of a channel and the gradient G of D, Σ G e / 2 Σ e². A perceptual distortion rises more slowly than its
gradient says, so all weights are scaled to what leaving out the whole detail really adds to it.

A step becomes LOG_STEP coarser as its channel's table indexes become one less, so all is counted in table steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.effort.counting import code
from jndcodec.effort.objective import Objective
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.entropy.tables import COUNT, DETAIL_FROM, LOG_STEP
from jndcodec.model.interface import size_of
from jndcodec.model.layers import to_blocks
from jndcodec.model.native import NativeModel
from jndcodec.model.tiling import Span
from jndcodec.model.vbr import JlcVbr

SHIFTS = np.arange(-16, 5)  # of a channel's step, in table steps; the smaller, the coarser
BIASES = np.arange(-3, 4)  # of its table indexes beside that
LEAST = 0.4  # share of its gradient's weight that D keeps: where nearly all is detail, the gradient is nearly right
ROUGH = 0.0002  # share of a picture's bits that an anchor gives for channels four table steps from its neighbour's

Shift = int | np.ndarray  # of all channels, or of each


@dataclass
class Anchor:
    """Detail at one rate anchor, of all pictures, in steps: values float32 and table indexes (n, detail), of which 0
    can't be known better. price: (detail,), R + λ D in bits per squared step of error. bits: of all the pictures."""

    values: np.ndarray
    index: np.ndarray
    price: np.ndarray
    bits: float


def tune_detail(
    coder: NativeModel, model: JlcVbr, pictures: Sequence[np.ndarray], say: Callable[[str], None] = lambda line: None
) -> None:
    """Give `model`, the float model of `coder`, the detail's steps and usual scales that are best on uint8 pictures
    (H, W, 3), at least 256 on a side."""
    anchors = len(model.gain_y.log_gain)
    found = [_anchor(coder, pictures, round(i / (anchors - 1) * T_MAX)) for i in range(anchors)]
    shift, bias = (np.zeros((anchors, model.config.detail), int) for _ in range(2))
    for _ in range(2):
        costs = np.stack([_costs(coder, a, [(s, b) for s in SHIFTS]) for a, b in zip(found, bias, strict=True)])
        shift = SHIFTS[_smooth(costs, np.array([a.bits for a in found]))]
        costs = np.stack([_costs(coder, a, [(s, b) for b in BIASES]) for a, s in zip(found, shift, strict=True)])
        bias = BIASES[costs.argmin(1)]
    for i, (a, s, b) in enumerate(zip(found, shift, bias, strict=True)):
        before, after = _costs(coder, a, [(0, 0), (s, b)]).sum(1)
        gain = f"R + λD {(after - before) / a.bits:+.2%} of R"
        say(f"t = {i / (anchors - 1):.3f}: {np.mean(-s):+.1f} table steps coarser, {gain}")
    with torch.no_grad():
        detail = slice(model.config.m, None)
        model.gain_y.log_gain[:, detail] += torch.from_numpy(LOG_STEP * shift)
        model.scale_y.log_gain[:, detail] += torch.from_numpy(LOG_STEP * (shift + bias))


def _anchor(coder: NativeModel, pictures: Sequence[np.ndarray], knob: int) -> Anchor:
    objective = Objective(coder.info, knob)
    gains, net = coder.gains(knob), coder.float_model
    values, indexes, bits, added = [], [], 0.0, 0.0
    slope, square, without = (torch.zeros(net.config.detail) for _ in range(3))
    for rgb in pictures:
        coded = code(coder, rgb, knob)
        bits += coded.symbols.bits(coder.tables)
        rows, columns = coded.y_hat.shape[2:]
        whole = Span(0, rows, 0, rows), Span(0, columns, 0, columns)
        ((row, column, predicted),) = coded.predictions or list(coder.predictions(coded.y_hat, knob))
        c = coder.coefficients(rgb, *whole)
        with torch.inference_mode(), coder.autocast():
            detail = net.detail(c - predicted, gains)
            c_hat = predicted + coder.detail_hat(coded, row.target, column.target, gains)
        values.append(detail.permute(0, 2, 3, 1).flatten(0, 2).numpy())
        index = coder.scale_network.indexes_y(coded.symbols.z, knob, coder.m + net.config.detail)
        indexes.append(index[:rows, :columns, coder.m :].reshape(rows * columns, -1))
        gradient, error, worse = _pull(objective, net, c, c_hat, predicted)
        added += worse
        gradient, error, missing = (
            F.linear(to_blocks(part), net.basis).flatten(0, 2) for part in (gradient, error, predicted - c)
        )
        slope += (gradient * error).sum(0)
        square += error.square().sum(0)
        without += missing.square().sum(0)
    size = sum(math.prod(size_of(rgb)) for rgb in pictures) / len(pictures)
    weight = (slope / (2 * square)).numpy()
    weight = np.maximum(weight, 0.1 * np.median(weight))  # of channels with hardly an error it is noise
    expected = float(weight @ (without - square).numpy())
    weight *= np.clip(added / expected, LEAST, 1.0) if expected > 0 else 1.0
    price = objective.lmbda * size * weight * gains.detail_back[0, :, 0, 0].numpy() ** 2
    return Anchor(np.concatenate(values), np.concatenate(indexes), price, bits)


def _pull(
    objective: Objective, net: JlcVbr, c: Tensor, c_hat: Tensor, predicted: Tensor
) -> tuple[Tensor, Tensor, float]:
    """The gradient of D on the DCT coefficients that were decoded, their error, and what D is more without detail."""
    c_hat = c_hat.clone().requires_grad_()
    with torch.enable_grad():
        d = objective.distortion(net.dct.inverse(c_hat), net.dct.inverse(c))
        (gradient,) = torch.autograd.grad(d, c_hat)
        without = objective.distortion(net.dct.inverse(predicted.clone()), net.dct.inverse(c))
    return gradient, (c_hat - c).detach(), float(without - d.detach())


def _costs(coder: NativeModel, anchor: Anchor, candidates: Sequence[tuple[Shift, Shift]]) -> np.ndarray:
    """R + λ D in bits, (candidates, detail), under (shift, bias) of all channels or of each."""
    recon_shift = coder.float_model.recon_shift.detach().numpy()
    known, result = anchor.index > 0, []
    for shift, bias in candidates:
        index = np.clip(anchor.index.astype(np.int16) + shift + bias, 0, COUNT - 1)
        index = (index * (known & (index >= DETAIL_FROM))).astype(np.uint8)
        heard = np.flatnonzero(index.any(0))  # the others are not coded at all
        scale = np.broadcast_to(np.exp(LOG_STEP * np.asarray(shift, np.float32)), len(anchor.price))
        cost = np.square(anchor.values).sum(0, dtype=np.float64)
        here, values = index[:, heard], anchor.values[:, heard] * scale[heard]
        symbols = np.floor(np.abs(values) + (0.5 - coder.dead_zones)[here]) * (here > 0)
        error = np.abs(values) - symbols + np.minimum(symbols, 1) * recon_shift[here]
        cost[heard] = np.square(error).sum(0, dtype=np.float64) / scale[heard] ** 2
        cost *= anchor.price
        cost[heard] += coder.tables.bits(symbols.astype(np.int64), here).sum(0, dtype=np.float64)
        result.append(cost)
    return np.stack(result)


def _smooth(costs: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """For each anchor and channel the number of the candidate, (anchors, detail): the cheapest way through costs
    (anchors, candidates, detail) where every step from one anchor to the next has its price."""
    count = costs.shape[1]
    apart = np.abs(np.arange(count)[:, None] - np.arange(count))[:, :, None] * ROUGH / (4 * costs.shape[2])
    total, back = costs[0], []
    for here, price in zip(costs[1:], bits[1:], strict=True):
        ways = total[:, None] + apart * price  # from, to, channel
        back.append(ways.argmin(0))
        total = ways.min(0) + here
    way = [total.argmin(0)]
    for choice in reversed(back):
        way.append(np.take_along_axis(choice, way[-1][None], 0)[0])
    return np.stack(way[::-1])
