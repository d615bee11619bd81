"""A native model ready to code: float transforms around the exact entropy path.

Layouts are those of jndcodec.model.transforms. Symbols and table indexes, (h, w, channels) in numpy, have y's channels,
then as many of detail as the picture needs: y lies channels last, so both lie in the same order in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jndcodec.entropy.elements import Elements, first_channels, new_symbols
from jndcodec.entropy.rounding import Quantise, quantiser
from jndcodec.entropy.symbols import SYMBOL_LIMIT, Symbols
from jndcodec.model.exact import ExactStage, up_to_last, used, worth_having
from jndcodec.model.exact_torch import DeviceIndexes
from jndcodec.model.gains import Gains
from jndcodec.model.grid import latent_size, window
from jndcodec.model.interface import Compressed, Progress, silent, size_of
from jndcodec.model.means import Means, as_tensor
from jndcodec.model.tiling import Span
from jndcodec.model.transforms import Transforms
from jndcodec.weights import ModelInfo, load_tensors

DETAIL_ROWS = 32  # elements of y: an encoder's memory is fullest here
ANALYSIS, SYNTHESIS = 0.5, 0.6  # about the shares of g_a and g_s in the time of their directions, for progress

Prediction = tuple[Span, Span, Tensor]  # what `Transforms.predictions` yields


@dataclass
class Coded:
    """What a picture was coded as: its symbols, the y_hat that they carry, float32 (1, m, h, w), and what g_s makes of
    that where it is small enough to keep."""

    symbols: Symbols
    y_hat: Tensor
    predictions: list[Prediction] | None


class NativeModel(Transforms, ExactStage):
    """Codes pictures with one weights file in torch."""

    engine = "torch"

    def __init__(self, info: ModelInfo, device: str = "auto", precision: str = "auto") -> None:
        tensors = load_tensors(info)
        Transforms.__init__(self, info, tensors, device, precision)
        ExactStage.__init__(self, info, tensors)
        self.dead_zone = torch.from_numpy(self.dead_zones).to(self.device)

    @functools.cached_property
    def device_indexes(self) -> DeviceIndexes:
        """`indexes` of several pictures on the device, for batches."""
        return DeviceIndexes(self.scale_network, self.m, self.device)

    # -- the two directions (jndcodec.model.interface)

    def compress(self, rgb: np.ndarray, t: int, dead_zone: float = 1.0, progress: Progress = silent) -> Compressed:
        y, energies = self.analyse(rgb, t, lambda share: progress(ANALYSIS * share))
        z = self.hyper_analyse(y, energies, t)
        del energies
        coded, _ = self.code(rgb, y, z, t, dead_zone, keep=False)
        progress(1.0)
        return coded

    def code(
        self, rgb: np.ndarray, y: Tensor, z: Tensor, t: int, dead_zone: float, keep: bool = True
    ) -> tuple[Compressed, Coded]:
        """Streams of the floats y and z, rounded with this share of the dead zones, and what they carry."""
        coded = self.quantise(rgb, y, z, t, quantiser(self.dead_zone, dead_zone), keep)
        streams, crc = self.pack(coded.symbols), coded.symbols.crc()
        return Compressed(*streams, crc, lambda: self.decoded(coded, t, size_of(rgb))), coded

    def decompress(
        self, z: bytes, y: bytes, symbols_crc: int, t: int, size: tuple[int, int], progress: Progress = silent
    ) -> np.ndarray:
        symbols = self.unpack_checked(z, y, symbols_crc, t, size)
        coded = Coded(symbols, self.reconstruct(symbols, t), None)
        return self.decoded(coded, t, size, lambda share: progress(1 - SYNTHESIS * (1 - share)))

    @torch.inference_mode()
    def quantise(self, rgb: np.ndarray, y: Tensor, z: Tensor, t: int, quantise: Quantise, keep: bool = True) -> Coded:
        """Round z and y, floats of `hyper_analyse` and `analyse` or better, and what they leave of the picture. Without
        `keep` y_hat may stand in y's memory."""
        coded_z = torch.from_numpy(self.scale_network.indexes_z(t) > 0)[None, :, None, None]
        z_hat = torch.round(z).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT) * coded_z
        z_out = z_hat[0].permute(1, 2, 0).to(torch.int16).numpy()
        index = self.indexes(z_out, t, latent_size(*size_of(rgb)), self.audible(t))
        count = up_to_last(used(index, self.m) > 0)
        index = first_channels(index, self.m + count)
        out = new_symbols(index)
        main = as_tensor(index[..., : self.m]), as_tensor(out[..., : self.m])
        y_hat = Means(self).quantise(z_hat, y, self.gains(t), *main, quantise, keep)
        predictions: list[Prediction] | None = None
        if count:
            found: Iterable[Prediction] = self.predictions(y_hat, t)
            if max(y_hat.shape[2:]) <= window(*y_hat.shape[2:]):
                found = predictions = list(found)
            self._quantise_detail(rgb, found, index, out, t, quantise)
            count = worth_having(used(out, self.m))
        kept, index_kept = (first_channels(part, self.m + count) for part in (out, index))
        symbols = Symbols(z_out, kept, self.scale_network.indexes_z(t), index_kept)
        return Coded(symbols, y_hat, predictions)

    def _quantise_detail(
        self, rgb: np.ndarray, predictions: Iterable[Prediction], index: Elements, out: Elements, t: int,
        quantise: Quantise,
    ) -> None:  # fmt: skip
        """Write the symbols of detail into `out`, (h, w, m + count) like `index`."""
        gains, count = self.gains(t), out.shape[2] - self.m
        for row, column, predicted in predictions:
            across = Span(column.start, column.stop, column.start, column.stop)
            for start in range(row.start, row.stop, DETAIL_ROWS):
                stop = min(start + DETAIL_ROWS, row.stop)
                missing = self.coefficients(rgb, Span(start, stop, start, stop), across)
                missing -= predicted[:, :, 2 * (start - row.start) : 2 * (stop - row.start)]
                with self.autocast():
                    detail = self.float_model.detail(missing, gains, count)
                place = slice(start, stop), column.target, slice(self.m, None)
                here = as_tensor(index[place]).to(self.device)
                symbols = quantise(detail, here).clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).mul_(here > 0)
                out[place] = symbols[0].permute(1, 2, 0).to("cpu", torch.int16).numpy()

    @torch.inference_mode()
    def reconstruct(self, symbols: Symbols, t: int) -> Tensor:
        """y_hat from symbols."""
        z_hat = as_tensor(symbols.z).float()
        main = as_tensor(symbols.y[..., : self.m]), as_tensor(symbols.index_y[..., : self.m])
        return Means(self).reconstruct(z_hat, *main, self.gains(t))

    @torch.inference_mode()
    def decoded(self, coded: Coded, t: int, size: tuple[int, int], progress: Progress = silent) -> np.ndarray:
        """The picture of `size` = (H, W): g_s of the main part, and its detail, window by window, to uint8."""
        rgb, done = np.empty((*size, 3), np.uint8), 0
        for row, column, predicted in coded.predictions or self.predictions(coded.y_hat, t):
            with self.autocast():
                c = predicted + self.detail_hat(coded, row.target, column.target, self.gains(t))
            target = rgb[row.scaled(16).target, column.scaled(16).target]
            for channel, plane in enumerate(self.pixels(c)):  # a fifth of the time of one transposing copy
                target[..., channel] = plane[: target.shape[0], : target.shape[1]]
            done += (row.stop - row.start) * (column.stop - column.start)
            progress(done / (coded.y_hat.shape[2] * coded.y_hat.shape[3]))
        return rgb

    def detail_hat(self, coded: Coded, rows: slice, columns: slice, gains: Gains) -> Tensor | float:
        """What the detail of a part of y's grid adds to the prediction of its DCT coefficients; 0 if there is none."""
        parts = (part[rows, columns, self.m :] for part in (coded.symbols.y, coded.symbols.index_y))
        symbols, index = (as_tensor(part).to(self.device) for part in parts)
        if not symbols.shape[1]:
            return 0.0
        return self.float_model.undetail(self.float_model.reconstruction(symbols.float(), index), gains)
