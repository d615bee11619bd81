"""From refined floats back to symbols: the rounding that serves best, and corrections where errors are squared.

Seen from y_hat, λ times the squared error is nearly a parabola of the same width in every direction, because the
synthesis is nearly orthonormal and its gains are those of the rate. So one gradient tells where in y the error is
least, and what is rounded next time leans that way.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from jndcodec.effort.objective import Objective
from jndcodec.effort.refine import over_z, pixels_of
from jndcodec.model.grid import CELL
from jndcodec.model.interface import Compressed
from jndcodec.model.native import Coded, NativeModel

ROUNDINGS = (0.0, 1.0)  # shares of the dead zones
CORRECTIONS = 3  # at most
CURVATURE = 13.0  # of λ D in bits per squared step of y, for most elements of jlc-mse at any rate (tested)
DAMPING = 0.3  # share of the way to the minimum: all elements move at once


def settle(model: NativeModel, rgb: np.ndarray, y: Tensor, z: Tensor, t: int, single_pass: Compressed) -> Compressed:
    """The coding with the lowest R + λ D, measured on bytes and 8-bit pictures; never worse than `single_pass`.

    rgb: uint8 (H, W, 3); y, z: floats before rounding, as `refine` gives them.
    """
    objective = Objective(model.info, t)

    def cost(streams: Compressed) -> float:
        decoded = streams.reconstruct()
        streams.reconstruct = functools.partial(np.copy, decoded)
        return objective.judge(len(streams.z) + len(streams.y), decoded, rgb)

    best, lowest = single_pass, cost(single_pass)
    for share in ROUNDINGS:
        streams, coded = model.code(rgb, y, z, t, share)
        if (found := cost(streams)) < lowest:
            best, lowest = streams, found
    if not objective.squared:
        return best
    for _ in range(CORRECTIONS):  # from the last rounding, with dead zones
        y = y + DAMPING * (coded.y_hat - y - _gradient(model, objective, rgb, coded, t) / CURVATURE)
        streams, coded = model.code(rgb, y, z, t, ROUNDINGS[-1])
        if (found := cost(streams)) >= lowest:
            break
        best, lowest = streams, found
    return best


def _gradient(model: NativeModel, objective: Objective, rgb: np.ndarray, coded: Coded, t: int) -> Tensor:
    """Of λ D in bits, with respect to y_hat; the detail stays as it is."""
    y_hat = coded.y_hat
    gradient = torch.zeros_like(y_hat)
    gains = model.gains(t)
    network = model.float_model.requires_grad_(False)
    for row, column in over_z(y_hat):
        x = pixels_of(rgb, row, column, model.device)
        row, column = row.scaled(CELL), column.scaled(CELL)
        with torch.inference_mode(False), torch.enable_grad():
            part = y_hat[..., row.outer, column.outer].to(model.device, copy=True).requires_grad_()
            with model.autocast():
                predicted = network.predict(part, gains)
                c_hat = predicted + model.detail_hat(coded, row.outer, column.outer, gains)
            x_hat = network.dct.inverse(c_hat)[..., : x.shape[2], : x.shape[3]]
            error = objective.lmbda * objective.distortion(x_hat, x) * x[0, 0].numel()
            (found,) = torch.autograd.grad(error, part)
        gradient[..., row.target, column.target] = found[..., row.inner, column.inner].to(gradient.device)
    return gradient
