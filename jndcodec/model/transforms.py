"""The float transforms of a native model, in windows and strips that bound the memory.

Layouts: pictures are uint8 (H, W, 3) in numpy; y, y_hat are float32 (1, m, h, w) in torch with channels last. h, w = H,
W over 16, rounded up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from jndcodec.entropy.scale_network import T_MAX
from jndcodec.model.build import build_model
from jndcodec.model.device import choose_device, choose_dtype
from jndcodec.model.gains import Gains
from jndcodec.model.grid import CELL, H_A_HALO, STRIDE_Y, WINDOW, latent_size, reaches, strips, window
from jndcodec.model.interface import Progress, silent
from jndcodec.model.layers import reducible
from jndcodec.model.memory import keep_freed_memory
from jndcodec.model.tiling import Span, read_padded, windows
from jndcodec.weights import ModelInfo


class Transforms:
    """g_a, h_a and g_s of one weights file on one device."""

    def __init__(self, info: ModelInfo, tensors: dict[str, np.ndarray], device: str, precision: str) -> None:
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        keep_freed_memory()
        self.float_model = build_model(info, tensors).to(self.device)
        for _, module in reducible(self.float_model):
            module.to(self.dtype)  # as autocast would, but once
        config = self.float_model.config
        self.g_a_halo, self.g_s_halo = reaches(config.s8, config.s16)

    @torch.inference_mode()
    def analyse(self, rgb: np.ndarray, t: int, progress: Progress = silent) -> tuple[Tensor, Tensor]:
        """g_a, window by window: y, and the energies of the detail. The picture is padded to multiples of 16 by
        repeating its edge."""
        rows, columns = latent_size(*rgb.shape[:2])
        gains, config = self.gains(t), self.float_model.config
        y, energies = self.new(config.m, rows, columns), self.new(config.ce, rows, columns)
        parts = windows(rows, columns, window(rows, columns), self.g_a_halo)
        for i, (row, column) in enumerate(parts):
            c = self.coefficients(rgb, row, column)
            with self.autocast():
                found = self.float_model.analyse(c, gains)
            for whole, part in zip((y, energies), found, strict=True):
                whole[..., row.target, column.target] = part[..., row.inner, column.inner]
            progress((i + 1) / len(parts))
        return y, energies

    def coefficients(self, rgb: np.ndarray, row: Span, column: Span) -> Tensor:
        """DCT coefficients c (1, 192, 2h, 2w) of what a window of y reads of a picture."""
        part = read_padded(rgb, row.scaled(STRIDE_Y), column.scaled(STRIDE_Y))
        x = torch.from_numpy(part).to(self.device).permute(2, 0, 1)[None].float().div_(255)
        return self.float_model.dct(x)

    def predictions(self, y_hat: Tensor, t: int) -> Iterator[tuple[Span, Span, Tensor]]:
        """g_s, window by window: (row, column, c' (1, 192, 2h, 2w) of what the window answers for)."""
        gains = self.gains(t)
        rows, columns = y_hat.shape[2:]
        for row, column in windows(rows, columns, window(rows, columns), self.g_s_halo):
            with torch.inference_mode(), self.autocast():
                found = self.float_model.predict(y_hat[..., row.outer, column.outer].to(self.device), gains)
            yield row, column, found[..., row.scaled(2).inner, column.scaled(2).inner]

    def pixels(self, c: Tensor) -> np.ndarray:
        """DCT coefficients (1, 192, 2h, 2w) to uint8 planes (3, 16h, 16w)."""
        return self.float_model.dct.inverse(c)[0].clamp_(0, 1).mul_(255).round_().to(torch.uint8).cpu().numpy()

    @torch.inference_mode()
    def hyper_analyse(self, y: Tensor, energies: Tensor, t: int) -> Tensor:
        """h_a in strips, on what `analyse` gives: z before rounding, float32 (1, cz, ceil(h / 4), ceil(w / 4)) on the
        CPU."""
        gains, parts = self.gains(t), []
        for span in strips(y.shape[2], y.shape[3], H_A_HALO):
            rows = span.scaled(CELL).outer
            with self.autocast():
                z = self.float_model.hyper_analyse(
                    y[:, :, rows].to(self.device), energies[:, :, rows].to(self.device), gains
                )
            parts.append(z[:, :, span.inner].cpu())
        return torch.cat(parts, 2)

    def gains(self, t: int) -> Gains:
        """`JlcVbr.gains` of a knob, which autograd may use; filled on the device: the host would wait for a copy."""
        with torch.inference_mode(False), torch.no_grad():
            return self.float_model.gains(torch.full((1,), t / T_MAX, device=self.device))

    def new(self, channels: int, rows: int, columns: int, pictures: int = 1) -> Tensor:
        """Zeros on the grid of y; on the device while it is small, else on the CPU."""
        device = self.device if rows * columns <= WINDOW**2 * 4 else torch.device("cpu")
        return torch.empty(
            (pictures, channels, rows, columns), device=device, memory_format=torch.channels_last
        ).zero_()

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
