"""A native model ready to code: float transforms around the exact entropy path.

Layouts are those of jndcodec.model.transforms: y lies channels last, so symbols and table indexes, (h, w, m) in numpy,
lie in the same order in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from jndcodec.entropy.dead_zone import Quantise, calibrated_dead_zones, quantiser
from jndcodec.entropy.symbols import SYMBOL_LIMIT, Symbols
from jndcodec.entropy.tables import Tables
from jndcodec.errors import SymbolError
from jndcodec.model.context import STEPS, put_step, step_masks, take_step
from jndcodec.model.interface import Compressed, Progress, silent
from jndcodec.model.tiling import Span
from jndcodec.model.transforms import CELL, H_S_HALO, Transforms, latent_size
from jndcodec.model.vbr import STRIDE_Y
from jndcodec.weights import ModelInfo, load_tensors, read_scale_network

ANALYSIS, SYNTHESIS = 0.7, 0.6  # about the shares of g_a and g_s in the time of their directions, for progress


class NativeModel(Transforms):
    """Codes pictures with one weights file."""

    exact = True
    variable_rate = True

    def __init__(self, info: ModelInfo, device: str = "auto", precision: str = "auto") -> None:
        tensors = load_tensors(info)
        super().__init__(info, tensors, device, precision)
        self.info = info
        self.name = info.name
        self.id = bytes.fromhex(info.id)
        self.scale_network = read_scale_network(tensors)
        self.tables = Tables(*(tensors[f"tables.{part}"] for part in ("cdf", "size", "offset")))
        self.dead_zone = torch.from_numpy(calibrated_dead_zones(info.calibration, self.tables)).to(self.device)

    # -- the two directions (jndcodec.model.interface)

    def compress(self, rgb: np.ndarray, t: int, dead_zone: float = 1.0, progress: Progress = silent) -> Compressed:
        y = self.analyse(rgb, t, lambda share: progress(ANALYSIS * share))
        coded, _ = self.code(y, self.hyper_analyse(y, t), t, rgb.shape[:2], dead_zone, keep=False)
        progress(1.0)
        return coded

    def code(
        self, y: Tensor, z: Tensor, t: int, size: tuple[int, int], dead_zone: float, keep: bool = True
    ) -> tuple[Compressed, Tensor]:
        """Streams of the floats y and z, rounded with this share of the dead zones, and the y_hat that they carry."""
        symbols, y_hat = self.quantise(y, z, t, size, quantiser(self.dead_zone, dead_zone), keep)
        return Compressed(*symbols.pack(self.tables), symbols.crc(), lambda: self.synthesise(y_hat, t, size)), y_hat

    def decompress(
        self, z: bytes, y: bytes, symbols_crc: int, t: int, size: tuple[int, int], progress: Progress = silent
    ) -> np.ndarray:
        symbols = self.unpack(z, y, t, size)
        if symbols.crc() != symbols_crc:
            raise SymbolError(
                "the symbols differ from those that were encoded, though the file is whole: "
                "the probability tables came out different here; please report this with the file"
            )
        y_hat = self.reconstruct(symbols, t)
        del symbols  # 450 MB at 100 megapixels, beside y_hat and the picture
        return self.synthesise(y_hat, t, size, lambda share: progress(1 - SYNTHESIS * (1 - share)))

    @torch.inference_mode()
    def quantise(
        self, y: Tensor, z: Tensor, t: int, size: tuple[int, int], quantise: Quantise, keep: bool = True
    ) -> tuple[Symbols, Tensor]:
        """Round z and y, floats of `analyse` and `hyper_analyse` or better: (symbols, y_hat), perhaps in y's memory
        without `keep`."""
        coded_z = torch.from_numpy(self.scale_network.indexes_z(t) > 0)[None, :, None, None]
        z_hat = torch.round(z).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT) * coded_z
        z_out = z_hat[0].permute(1, 2, 0).to(torch.int16).numpy()
        index = self._indexes(z_out, t, size)
        out = np.empty(index.shape, np.int16)
        index_t, out_t = _as_tensor(index), _as_tensor(out)

        def code(span: Span, step: int, mean: Tensor) -> Tensor:
            here = take_step(index_t[:, :, span.target], step).to(self.device)
            residual = take_step(y[:, :, span.target], step).to(self.device) - mean
            symbols = quantise(residual, here).clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).mul_(here > 0)
            put_step(out_t[:, :, span.target], step, symbols.to("cpu", torch.int16))
            return self.float_model.reconstruction(symbols, here)

        y_hat = self._refine(z_hat, t, code, None if keep else y)
        return Symbols(z_out, out, self.scale_network.indexes_z(t), index), y_hat

    @torch.inference_mode()
    def reconstruct(self, symbols: Symbols, t: int) -> Tensor:
        """y_hat from symbols."""
        y, index = _as_tensor(symbols.y), _as_tensor(symbols.index_y)
        z_hat = _as_tensor(symbols.z).float()

        def code(span: Span, step: int, mean: Tensor) -> Tensor:
            coded = take_step(y[:, :, span.target], step).to(self.device, torch.float32)
            return self.float_model.reconstruction(coded, take_step(index[:, :, span.target], step).to(self.device))

        return self._refine(z_hat, t, code)

    # -- the exact stage

    def unpack(self, z_stream: bytes, y_stream: bytes, t: int, size: tuple[int, int]) -> Symbols:
        """Entropy-decode both streams."""
        rows, columns = latent_size(*size)
        cz = self.float_model.config.cz
        index_z = self.scale_network.indexes_z(t)
        z = Symbols.unpack_z(z_stream, (rows // CELL, columns // CELL, cz), index_z, self.tables)
        index = self._indexes(z, t, size)
        return Symbols(z, Symbols.unpack_y(y_stream, index, self.tables), index_z, index)

    def _indexes(self, z: np.ndarray, t: int, size: tuple[int, int]) -> np.ndarray:
        """Table index of every element of y, uint8 (h, w, m); 0 (not coded) where its 16x16 block is all padding."""
        rows, columns = z.shape[0] * CELL, z.shape[1] * CELL
        index = np.empty((rows, columns, self.float_model.config.m), np.uint8)
        for span in self._strips(rows, columns, H_S_HALO):
            part = self.scale_network.indexes_y(z[span.outer], t)
            index[span.scaled(CELL).target] = part[span.scaled(CELL).inner]
        index[math.ceil(size[0] / STRIDE_Y) :] = 0
        index[:, math.ceil(size[1] / STRIDE_Y) :] = 0
        return index

    # -- shared by both directions

    def _refine(
        self, z_hat: Tensor, t: int, code: Callable[[Span, int, Tensor], Tensor], memory: Tensor | None = None
    ) -> Tensor:
        """The four steps of context: y_hat = code(span, step, mean) + mean, each on its step's elements, packed.

        memory: a tensor of y's shape that y_hat may be written into, whatever it holds.
        """
        knob = self._knob(t)
        rows, columns = z_hat.shape[2] * CELL, z_hat.shape[3] * CELL
        strips = list(self._strips(rows, columns, H_S_HALO))
        # where there are several strips, each step masks what is not reconstructed yet; else it must be zero
        y_hat = memory if memory is not None and len(strips) > 1 else self._new(rows, columns)
        sigma = self.float_model.scale_y(knob)
        features = None
        for step in range(STEPS):
            for coarse in strips:
                span = coarse.scaled(CELL)
                with self.autocast():
                    if features is None or len(strips) > 1:  # kept between steps where one strip is all
                        features = self.float_model.h_s(z_hat[:, :, coarse.outer].to(self.device))
                    state = y_hat[:, :, span.outer].to(self.device)
                    if len(strips) > 1:  # a neighbour strip may hold this step's elements: see the earlier steps' only
                        masks = step_masks(y_hat.shape[1], span.high - span.low, columns, self.device)
                        state = state * sum(masks[:step], torch.zeros_like(masks[0]))
                    mean = self.float_model.mean_in_units(step, state, features, sigma)[:, :, span.inner]
                mean = take_step(mean, step).float() * sigma
                put_step(y_hat[:, :, span.target], step, (code(span, step, mean) + mean).to(y_hat.device))
        return y_hat


def _as_tensor(array: np.ndarray) -> Tensor:
    """(h, w, C) in numpy as (1, C, h, w) in torch, sharing memory."""
    return torch.from_numpy(array).permute(2, 0, 1)[None]
