"""R + λ D as the model was trained for it: the distortion that its weights file names, at the training's λ(t).

A perceptual metric never stands alone: a picture optimised for SSIMULACRA2 alone gains in it what it loses in CVVDP
and PSNR (docs/EFFORT.md), so squared error keeps it company, and ColorVideoVDP does, where it was not trained on.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.entropy.scale_network import T_MAX
from jndcodec.errors import InputError
from jndcodec.metrics.constants import WINDOW
from jndcodec.metrics.distortion import distortion
from jndcodec.metrics.trade import RateTrade, parse_metrics, variable_rate
from jndcodec.model.tiling import windows
from jndcodec.weights import ModelInfo

COMPANION = 0.4  # least share of MSE beside another metric (docs/EFFORT.md); it fades towards t = 1
COLOUR = 0.35  # of SSIMULACRA2's share that goes to ColorVideoVDP, which sees colour
BLOCK = 1024  # pixels on a side, at most, of what a distortion is measured on: bounds the memory


def rate_trade(info: ModelInfo) -> RateTrade:
    """λ(t) and metrics from `loss` ("rd, ssimulacra2:1,mse:0.1" or a metric alone); MSE where it names none."""
    try:
        shares = parse_metrics(info.loss.rpartition(", ")[2])
    except InputError:
        shares = {"mse": 1.0}
    if next(iter(shares)) == "ssimulacra2" and "cvvdp" not in shares:
        whole = shares["ssimulacra2"]
        shares |= {"ssimulacra2": (1 - COLOUR) * whole, "cvvdp": COLOUR * whole}
    if "mse" != next(iter(shares)):
        shares["mse"] = max(COMPANION, shares.get("mse", 0.0))
    return variable_rate(shares, info.record.get("lambda", ""))


class Objective:
    """R + λ D at one rate knob, in bits per pixel."""

    def __init__(self, info: ModelInfo, t: int) -> None:
        """t: 0 … 65535."""
        self.trade = rate_trade(info)
        self.t = torch.tensor([t / T_MAX])
        self.lmbda = float(self.trade.lmbda(self.t))
        self.terms = [(float(self.trade.share(name, self.t)), distortion(name)) for name in self.trade.shares]

    @property
    def squared(self) -> bool:
        """Whether D is squared error alone."""
        return list(self.trade.shares) == ["mse"]

    def distortion(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """D of (1, 3, H, W) in [0, 1]: a differentiable scalar in the main metric's units."""
        height, width = (max(0, WINDOW - side) for side in x.shape[2:])  # MS-SSIM needs one; the edge is repeated
        if height or width:
            x_hat, x = (F.pad(part, (0, width, 0, height), mode="replicate") for part in (x_hat, x))
        return sum((share * d(x_hat, x) for share, d in self.terms), torch.zeros((), device=x.device)).squeeze()

    def cost(self, bits: Tensor | float, x_hat: Tensor, x: Tensor) -> Tensor:
        """R + λ D of (1, 3, H, W) in [0, 1]."""
        return bits / (x.shape[2] * x.shape[3]) + self.lmbda * self.distortion(x_hat, x)

    @torch.inference_mode()
    def judge(self, size: int, decoded: np.ndarray, rgb: np.ndarray) -> float:
        """R + λ D of `size` bytes for uint8 (H, W, 3), D averaged over blocks."""
        height, width = rgb.shape[:2]
        total = 0.0
        for row, column in windows(height, width, BLOCK, 0):
            x, x_hat = (_tensor(part[row.target, column.target]) for part in (rgb, decoded))
            total += float(self.distortion(x_hat, x)) * x.shape[2] * x.shape[3]
        return (8 * size + self.lmbda * total) / (height * width)


def _tensor(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
