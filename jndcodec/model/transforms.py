"""The float transforms of a native model, in windows and strips that bound the memory.

Layouts: pictures are uint8 (H, W, 3) in numpy; y, y_hat are float32 (1, m, h, w) in torch with channels last. h, w = H,
W padded to 64, over 16.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from jndcodec.entropy.scale_network import T_MAX
from jndcodec.model.build import build_model
from jndcodec.model.device import choose_device, choose_dtype, keep_freed_memory
from jndcodec.model.interface import Progress, silent
from jndcodec.model.tiling import Span, read_padded, spans, windows
from jndcodec.model.vbr import STRIDE_Y, STRIDE_Z
from jndcodec.weights import ModelInfo

WINDOW = 128  # elements of y on a side of what the transforms read at once: 2048 pixels
STRIP = 32768  # elements of y per channel in what the hyper transforms and the context read at once
CELL = STRIDE_Z // STRIDE_Y
H_A_HALO, H_S_HALO = 2, 1  # receptive fields of h_a and h_s beyond an element of z, in elements of z


class Transforms:
    """g_a, h_a and g_s of one weights file on one device."""

    def __init__(self, info: ModelInfo, tensors: dict[str, np.ndarray], device: str, precision: str) -> None:
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        keep_freed_memory()
        self.float_model = build_model(info, tensors).to(self.device)
        for module in self.float_model.modules():
            if isinstance(module, nn.Conv2d):
                module.to(self.dtype)  # as autocast would, but once
        config = self.float_model.config
        reach_8 = config.n8 * (3 if config.h8 else 2) + config.s8  # of the blocks, in their own elements
        reach_16 = config.n16 * (3 if config.h16 else 2) + config.s16
        self.g_a_halo = math.ceil((reach_8 + 2) / 2) + reach_16  # in elements of y
        self.g_s_halo = math.ceil((reach_8 + 1) / 2) + reach_16

    @torch.inference_mode()
    def analyse(self, rgb: np.ndarray, t: int, progress: Progress = silent) -> Tensor:
        """g_a, window by window; the picture is padded to multiples of 64 by repeating its edge."""
        height, width = rgb.shape[:2]
        rows, columns = latent_size(height, width)
        knob, y = self._knob(t), self._new(rows, columns)
        parts = windows(rows, columns, WINDOW, self.g_a_halo, CELL)
        for i, (row, column) in enumerate(parts):
            part = read_padded(rgb, row.scaled(STRIDE_Y), column.scaled(STRIDE_Y))
            x = torch.from_numpy(part).to(self.device).permute(2, 0, 1)[None].float().div_(255)
            with self.autocast():
                out = self.float_model.analyse(x, knob)
            y[..., row.target, column.target] = out[..., row.inner, column.inner]
            progress((i + 1) / len(parts))
        return y

    @torch.inference_mode()
    def synthesise(self, y_hat: Tensor, t: int, size: tuple[int, int], progress: Progress = silent) -> np.ndarray:
        """g_s, window by window, to uint8."""
        height, width = size
        knob, rgb = self._knob(t), np.empty((height, width, 3), np.uint8)
        parts = windows(*y_hat.shape[2:], WINDOW, self.g_s_halo, CELL)
        for i, (row, column) in enumerate(parts):
            with self.autocast():
                x = self.float_model.synthesise(y_hat[..., row.outer, column.outer].to(self.device), knob)
            high, wide = row.scaled(STRIDE_Y), column.scaled(STRIDE_Y)
            x = x[0, :, high.inner, wide.inner].clamp_(0, 1).mul_(255).round_().to(torch.uint8)
            target = rgb[high.target, wide.target]
            for channel, plane in enumerate(x.cpu().numpy()):  # a fifth of the time of one transposing copy
                target[..., channel] = plane[: target.shape[0], : target.shape[1]]
            progress((i + 1) / len(parts))
        return rgb

    @torch.inference_mode()
    def hyper_analyse(self, y: Tensor, t: int) -> Tensor:
        """h_a in strips: z before rounding, float32 (1, cz, h / 4, w / 4) on the CPU."""
        knob, parts = self._knob(t), []
        for span in self._strips(y.shape[2], y.shape[3], H_A_HALO):
            with self.autocast():
                z = self.float_model.hyper_analyse(y[:, :, span.scaled(CELL).outer].to(self.device), knob)
            parts.append(z[:, :, span.inner].cpu())
        return torch.cat(parts, 2)

    def _strips(self, rows: int, columns: int, halo: int) -> list[Span]:
        """Strips over the rows of z such that y holds at most about STRIP elements of each channel in one."""
        return list(spans(rows // CELL, max(1, STRIP // (columns * CELL)), halo))

    def _knob(self, t: int) -> Tensor:
        return torch.tensor([t / T_MAX], dtype=torch.float32, device=self.device)

    def _new(self, rows: int, columns: int) -> Tensor:
        """A y of zeros; on the device while it is small, else on the CPU."""
        device = self.device if rows * columns <= WINDOW**2 * 4 else torch.device("cpu")
        shape = (1, self.float_model.config.m, rows, columns)
        return torch.empty(shape, device=device, memory_format=torch.channels_last).zero_()

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def latent_size(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of y for a picture."""
    return math.ceil(height / STRIDE_Z) * CELL, math.ceil(width / STRIDE_Z) * CELL
