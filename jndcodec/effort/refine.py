"""Gradient descent on y and z of one picture for R + λ D, through the decoder that will read them.

The encoder's networks answer for all pictures at once; what that costs one picture (the amortisation gap) is won back
here (Campos et al., CVPR workshops 2019; Yang, Bamler and Mandt, NeurIPS 2020). Rounding is relaxed to a soft staircase
that steepens while the step size falls, with uniform noise on top, so that no value between two integers looks cheaper
than it will be (Agustsson and Theis, NeurIPS 2020). On these models and with tens of steps it beats stochastic Gumbel
annealing and straight-through rounding (docs/EFFORT.md).

Windows of WINDOW elements bound the memory: each reads HALO more on every side, held as they are there, after its
neighbours before it are done. The noise is seeded: the same picture gives the same file.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.effort.objective import Objective
from jndcodec.entropy.lookup import audible, table_index
from jndcodec.model.context import step_masks
from jndcodec.model.gains import Gains
from jndcodec.model.grid import CELL, STRIDE_Y, STRIDE_Z, hyper_size
from jndcodec.model.interface import Progress
from jndcodec.model.layers import gaussian_bits
from jndcodec.model.native import NativeModel
from jndcodec.model.tiling import Span, windows
from jndcodec.model.vbr import JlcVbr

WINDOW = 64  # elements of y on a side: 1024 pixels, about 1 GB
HALO = 8  # elements of y, a multiple of CELL; g_s reaches about as far
SEED = 1
RATE_Y, RATE_Z = 0.08, 0.1  # Adam's step sizes at the start, in quantisation steps; they fall along a cosine
BETAS = (0.9, 0.95)
EPS = 1.0  # bits per quantisation step: gradients far below that are left alone
SOFTNESS = (1.0, 0.4)  # of the staircase, first and last step: 1 is nearly a straight line
NOISE = (1.0, 0.3)  # width of the uniform noise, first and last step, …
AVERAGED = 50  # … were there this many steps to average over: it is in proportion to their number
SQUARED_STEPS = 6  # where D is squared error alone, more steps only trade quality for bytes


def refine(
    model: NativeModel, rgb: np.ndarray, y: Tensor, z: Tensor, t: int, steps: int, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Better (y, z), floats before rounding as `analyse` and `hyper_analyse` give them, which are left alone.

    rgb: uint8 (H, W, 3). steps: of gradient descent, at each window, at most. progress: called with the share done.
    """
    if Objective(model.info, t).squared:
        steps = min(steps, SQUARED_STEPS)
    y, z = y.clone(), z.clone()
    parts = over_z(y)
    for i, (row, column) in enumerate(parts):
        window = _Window(model, rgb, y, z, t, row, column, noise=steps / AVERAGED)
        for step in range(steps):
            window.step(step / max(1, steps - 1))
            progress((i + (step + 1) / steps) / len(parts))
        window.write(y, z)
    return y, z


def over_z(y: Tensor) -> list[tuple[Span, Span]]:
    """Windows over y (1, m, h, w), in elements of z."""
    return windows(*hyper_size(y.shape[2], y.shape[3]), WINDOW // CELL, HALO // CELL)


def pixels_of(rgb: np.ndarray, row: Span, column: Span, device: torch.device) -> Tensor:
    """The picture under a window with its halo, (1, 3, H, W) in [0, 1]; smaller where the picture ends."""
    high, wide = row.scaled(STRIDE_Z), column.scaled(STRIDE_Z)
    pixels = np.ascontiguousarray(rgb[high.low : high.high, wide.low : wide.high])
    return torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None].float().div_(255)


def coefficients_of(x: Tensor, model: JlcVbr) -> Tensor:
    """DCT coefficients of pixels (1, 3, H, W), filled up to whole blocks by repeating the edge."""
    height, width = x.shape[2:]
    return model.dct(F.pad(x, (0, -width % STRIDE_Y, 0, -height % STRIDE_Y), mode="replicate"))


class _Window:
    """One window's y and z on the device, and their optimiser."""

    def __init__(
        self, model: NativeModel, rgb: np.ndarray, y: Tensor, z: Tensor, t: int, row: Span, column: Span, noise: float
    ) -> None:
        """noise: factor on NOISE."""
        self.row, self.column, self.autocast, self.noise = row, column, model.autocast, noise
        device = model.device
        self.x = pixels_of(rgb, row, column, device)
        self.objective = Objective(model.info, t)
        self.network = Relaxed(model.float_model, model.gains(t), coefficients_of(self.x, model.float_model))
        at_y = (..., row.scaled(CELL).outer, column.scaled(CELL).outer)
        at_z = (..., row.outer, column.outer)
        with torch.inference_mode(False):
            self.y = y[at_y].to(device, copy=True).requires_grad_()
            self.z = z[at_z].to(device, copy=True).requires_grad_()
        self.free_y = _inside(self.y, row.scaled(CELL), column.scaled(CELL))
        self.free_z = _inside(self.z, row, column)
        self.optimiser = torch.optim.Adam([{"params": [self.y]}, {"params": [self.z]}], betas=BETAS, eps=EPS)
        self.random = torch.Generator(device).manual_seed(SEED)

    @torch.enable_grad()
    def step(self, share: float) -> None:
        """One step; `share` of them are done, 0 for the first and 1 for the last."""
        cosine = 0.55 + 0.45 * math.cos(math.pi * share)
        for group, rate in zip(self.optimiser.param_groups, (RATE_Y, RATE_Z), strict=True):
            group["lr"] = rate * cosine
        softness = SOFTNESS[0] * (SOFTNESS[1] / SOFTNESS[0]) ** share
        width = self.noise * (NOISE[0] + (NOISE[1] - NOISE[0]) * share)

        def relax(v: Tensor) -> Tensor:
            noise = torch.rand(v.shape, generator=self.random, device=v.device) - 0.5
            return soft_round(v, softness) + width * noise

        with self.autocast():
            x_hat, bits = self.network(self.y, self.z, relax)
        x_hat = x_hat[..., : self.x.shape[2], : self.x.shape[3]]
        loss = self.objective.cost(bits, x_hat, self.x) * self.x[0, 0].numel()
        gradients = torch.autograd.grad(loss, (self.y, self.z))
        self.y.grad, self.z.grad = (g * free for g, free in zip(gradients, (self.free_y, self.free_z), strict=True))
        self.optimiser.step()

    def write(self, y: Tensor, z: Tensor) -> None:
        """Put what this window answers for into the picture's y and z."""
        row, column = self.row.scaled(CELL), self.column.scaled(CELL)
        y[..., row.target, column.target] = self.y.detach()[..., row.inner, column.inner].to(y.device)
        z[..., self.row.target, self.column.target] = self.z.detach()[..., self.row.inner, self.column.inner].to(
            z.device
        )


def _inside(like: Tensor, row: Span, column: Span) -> Tensor:
    """(1, 1, h, w): 1 where the window answers, 0 in its halo."""
    mask = torch.zeros(1, 1, *like.shape[2:], device=like.device)
    mask[..., row.inner, column.inner] = 1
    return mask


class Relaxed:
    """The decoder and the rates it pays, differentiable in y and z. No gradients for its weights."""

    def __init__(self, model: JlcVbr, gains: Gains, c: Tensor) -> None:
        """c: DCT coefficients of the pixels, (1, 192, 2h, 2w)."""
        self.model, self.gains, self.c = model.requires_grad_(False), gains, c

    def __call__(self, y: Tensor, z: Tensor, relax: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """(x_hat, bits) with `relax` in place of rounding."""
        model, m = self.model, y.shape[1]
        height, width = y.shape[2:]
        z_hat = relax(z)
        features = model.h_s(z_hat)[:, :, :height, :width]
        log_scale = self.gains.log_scale + model.scale_net(z_hat).float()[:, :, :height, :width]
        index = table_index(log_scale.detach())
        index_y, index_detail = index[:, :m], audible(index[:, m:])
        coded = torch.cat([index_y, index_detail], 1) > 0
        y_hat, symbols = torch.zeros_like(y), torch.zeros_like(y)
        for step, mask in enumerate(step_masks(y.shape[1], y.shape[2], y.shape[3], y.device)):
            mean = model.step_mean(step, y_hat, features, self.gains.sigma)
            here = relax(y - mean) * (mask & coded[:, :m])
            y_hat = y_hat + model.reconstruction(here, index_y) + mean * mask
            symbols = symbols + here
        predicted = model.predict(y_hat, self.gains)
        detail = relax(model.detail(self.c - predicted, self.gains)) * coded[:, m:]
        c_hat = predicted + model.undetail(model.reconstruction(detail, index_detail), self.gains)
        every = torch.cat([symbols, detail], 1)
        bits = gaussian_bits(z_hat, self.gains.log_scale_z).sum() + (gaussian_bits(every, log_scale) * coded).sum()
        return model.dct.inverse(c_hat), bits


def soft_round(v: Tensor, softness: float) -> Tensor:
    """A smooth staircase through the integers: plain rounding for softness 0, a straight line for infinity."""
    middle = torch.floor(v.detach()) + 0.5
    return middle + torch.tanh((v - middle) / softness) / (2 * math.tanh(0.5 / softness))
