"""Pictures of one size in one batch through the transforms; what codes bytes on threads beside them.

A batch goes to the device in one piece and comes back in one, and the host waits for it once, on the thread that codes
it: the thread that feeds the device never waits. So symbols are chosen on the device, with the exact stage there too
(jndcodec.model.exact_torch), and a file's are read on the host before.

A device's kernels may add in another order in a batch, so that a value at a half-integer rounds the other way, which is
as good: the decoder reads what was chosen. A CPU, which is busy with one picture, runs them one after the other, and
gives each the symbols and pixels that it gets alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jndcodec.entropy.rounding import quantiser
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.entropy.symbols import SYMBOL_LIMIT, Symbols
from jndcodec.errors import JndcodecError
from jndcodec.model.exact import used, worth_having
from jndcodec.model.grid import STRIDE_Y, WINDOW, latent_size
from jndcodec.model.interface import Compressed, size_of
from jndcodec.model.means import Means
from jndcodec.model.native import NativeModel
from jndcodec.model.tiling import Span, read_padded
from jndcodec.model.transfer import Download, upload


@dataclass(frozen=True)
class Streams:
    """A file's part of the model: the arguments of `NativeModel.decompress`."""

    z: bytes
    y: bytes
    symbols_crc: int
    t: int
    size: tuple[int, int]


def fits(size: tuple[int, int]) -> bool:
    """Whether a picture of (H, W) is one window, and can share a batch; larger ones fill a device alone."""
    return max(latent_size(*size)) <= WINDOW


def together(device: torch.device) -> bool:
    """Whether pictures share the transforms' kernels."""
    return device.type != "cpu"


class BatchCoder:
    """Both directions of one model. threads: for the exact stage of files and rANS."""

    def __init__(self, model: NativeModel, threads: Executor) -> None:
        self._model, self._threads = model, threads

    def _each(self, pictures: int) -> int:
        """How many of them go through the transforms at once."""
        return pictures if together(self._model.device) else 1

    def compress(self, pictures: Sequence[np.ndarray], t: int, dead_zone: float) -> list[Future[Compressed]]:
        """Uint8 (H, W, 3) each, of one size that `fits`. The streams are packed while the next batch runs."""
        model, size = self._model, size_of(pictures[0])
        row, column = (Span(0, count, 0, count).scaled(STRIDE_Y) for count in latent_size(*size))
        pixels = upload([read_padded(rgb, row, column) for rgb in pictures], model.device)
        each = self._each(len(pictures))
        coming = [Download(self.choose_symbols(some, t, dead_zone)) for some in pixels.split(each)]

        def pack(i: int) -> Compressed:
            z, y, index = (part[i % each] for part in coming[i // each].wait())
            kept = slice(None, model.m + worth_having(used(y, model.m)))
            symbols = Symbols(z, y[..., kept], model.scale_network.indexes_z(t), index[..., kept])
            streams, crc = model.pack(symbols), symbols.crc()
            return Compressed(*streams, crc, lambda: model.decompress(*streams, crc, t, size))

        return [self._threads.submit(pack, i) for i in range(len(pictures))]

    @torch.inference_mode()
    def choose_symbols(self, pixels: Tensor, t: int, dead_zone: float) -> tuple[Tensor, Tensor, Tensor]:
        """Uint8 pixels (N, 16h, 16w, 3) -> symbols of z, int16 (N, hz, wz, cz), of y and detail, int16 (N, h, w, C),
        and their table indexes, uint8. Nothing in it waits for the device."""
        model, net, m = self._model, self._model.float_model, self._model.m
        n, rows, columns = len(pixels), pixels.shape[1] // STRIDE_Y, pixels.shape[2] // STRIDE_Y
        gains, round_off = model.gains(t), quantiser(model.dead_zone, dead_zone)
        c = net.dct(pixels.permute(0, 3, 1, 2).float().div_(255))
        with model.autocast():
            y, energies = (part.float().contiguous(memory_format=torch.channels_last) for part in net.analyse(c, gains))
            z = net.hyper_analyse(y, energies, gains)
        coded_z = upload([model.scale_network.indexes_z(t) > 0], model.device)[..., None, None]
        z_hat = torch.round(z).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT) * coded_z
        count = model.audible(t)  # which of them are heard in these pictures, the host does not know yet
        index = model.device_indexes(z_hat, t, (rows, columns), count)
        out = torch.zeros((n, rows, columns, m + count), dtype=torch.int16, device=model.device)
        symbols = out.permute(0, 3, 1, 2)
        y_hat = Means(model).quantise(z_hat, y, gains, index[:, :m], symbols[:, :m], round_off)
        if count:
            with model.autocast():
                detail = net.detail(c - net.predict(y_hat, gains), gains, count)
            here = index[:, m:]
            symbols[:, m:] = round_off(detail, here).clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).mul_(here > 0)
        return z_hat.permute(0, 2, 3, 1).to(torch.int16).contiguous(), out, index.permute(0, 2, 3, 1)

    def unpack(self, files: Sequence[Streams]) -> list[Future[Symbols]]:
        """The first half of `decompress`: its symbols, on threads."""
        return [
            self._threads.submit(self._model.unpack_checked, one.z, one.y, one.symbols_crc, one.t, one.size)
            for one in files
        ]

    def decompress(
        self, files: Sequence[Streams], unpacked: Sequence[Future[Symbols]]
    ) -> list[Callable[[], np.ndarray] | None]:
        """What waits for the picture, uint8 (H, W, 3), of each, all of one size that `fits`; None where the symbols
        cannot be had: `NativeModel.decompress` says why."""
        device = self._model.device
        found = [_result(future) for future in unpacked]
        good = [(one, symbols) for one, symbols in zip(files, found, strict=True) if symbols is not None]
        if not good:
            return [None] * len(files)
        count = max(symbols.y.shape[2] for _, symbols in good)
        z = upload([symbols.z for _, symbols in good], device)
        y = upload([_filled(np.asarray(symbols.y), count) for _, symbols in good], device)
        index = upload([_filled(np.asarray(symbols.index_y), count) for _, symbols in good], device)
        knob = upload([np.array(one.t / T_MAX, np.float32) for one, _ in good], device)
        each, (height, width) = self._each(len(good)), files[0].size
        parts = zip(*(part.split(each) for part in (z, y, index, knob)), strict=True)
        coming = [Download([self.make_pixels(*part)]) for part in parts]
        places = iter(range(len(good)))

        def picture(i: int) -> np.ndarray:
            return coming[i // each].wait()[0][i % each, :height, :width].copy()  # or one would keep all of them

        return [None if symbols is None else functools.partial(picture, next(places)) for symbols in found]

    @torch.inference_mode()
    def make_pixels(self, z: Tensor, y: Tensor, index: Tensor, knob: Tensor) -> Tensor:
        """Symbols and table indexes as those of `choose_symbols`, knobs (N,) -> uint8 pixels (N, 16h, 16w, 3). Nothing
        in it waits for the device."""
        model, net, m = self._model, self._model.float_model, self._model.m
        gains = net.gains(knob)
        z, y, index = (part.permute(0, 3, 1, 2) for part in (z, y, index))
        y_hat = Means(model).reconstruct(z.float(), y[:, :m], index[:, :m], gains)
        with model.autocast():
            c = net.predict(y_hat, gains)
            if y.shape[1] > m:
                c = c + net.undetail(net.reconstruction(y[:, m:].float(), index[:, m:]), gains)
        x = net.dct.inverse(c).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
        return x.permute(0, 2, 3, 1).contiguous()


def _result(future: Future[Symbols]) -> Symbols | None:
    try:
        return future.result()
    except JndcodecError:
        return None


def _filled(array: np.ndarray, count: int) -> np.ndarray:
    """(h, w, C) with zeros up to `count` channels."""
    return np.pad(array, [(0, 0), (0, 0), (0, count - array.shape[2])])
