"""Pictures of one size in one batch through the transforms; the exact stage and rANS on threads beside them.

Each picture gets the symbols that it gets alone where the device's kernels add in the same order for any batch, as they
do on CPUs (tests/test_batches.py). Where one does not, a value at a half-integer may round the other way, which is as
good: the decoder reads what was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jndcodec.entropy.rounding import quantiser
from jndcodec.entropy.symbols import SYMBOL_LIMIT, Symbols
from jndcodec.errors import JndcodecError
from jndcodec.model.exact import up_to_last, worth_having
from jndcodec.model.grid import WINDOW, latent_size
from jndcodec.model.interface import Compressed, size_of
from jndcodec.model.means import Means, as_tensor
from jndcodec.model.native import NativeModel
from jndcodec.model.tiling import Span


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


class BatchCoder:
    """Both directions of one model. threads: for the exact stage and rANS."""

    def __init__(self, model: NativeModel, threads: Executor) -> None:
        self._model, self._threads = model, threads

    @torch.inference_mode()
    def compress(self, pictures: Sequence[np.ndarray], t: int, dead_zone: float) -> list[Future[Compressed]]:
        """Uint8 (H, W, 3) each, of one size that `fits`. The streams are packed while the next batch runs."""
        model, net, size = self._model, self._model.float_model, size_of(pictures[0])
        rows, columns = latent_size(*size)
        knob, round_off = model.knob(t), quantiser(model.dead_zone, dead_zone)
        whole = Span(0, rows, 0, rows), Span(0, columns, 0, columns)
        c = torch.cat([model.coefficients(rgb, *whole) for rgb in pictures])
        with model.autocast():
            y, energies = (part.float().contiguous(memory_format=torch.channels_last) for part in net.analyse(c, knob))
            z = net.hyper_analyse(y, energies, knob).cpu()
        index_z = model.scale_network.indexes_z(t)
        coded_z = torch.from_numpy(index_z > 0)[None, :, None, None]
        z_hat = torch.round(z).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT) * coded_z
        z_out = np.ascontiguousarray(z_hat.permute(0, 2, 3, 1).to(torch.int16).numpy())
        audible = model.audible(t)
        index = np.stack(list(self._threads.map(lambda z: model.indexes(z, t, (rows, columns), audible), z_out)))
        out, m = np.zeros(index.shape, np.int16), model.m
        y_hat = Means(model).quantise(z_hat, y, t, index[..., :m], out[..., :m], round_off)
        counts = [up_to_last(one[..., m:].any((0, 1))) for one in index]
        if count := max(counts):
            with model.autocast():
                missing = c - net.predict(y_hat, knob)
                detail = net.detail(missing, knob, count)
            here = as_tensor(index[..., m : m + count]).to(model.device)
            symbols = round_off(detail, here).clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).mul_(here > 0)
            as_tensor(out[..., m : m + count]).copy_(symbols)

        def pack(i: int) -> Compressed:
            kept = slice(None, m + worth_having(out[i, ..., m:]))
            symbols = Symbols(z_out[i], out[i][..., kept], index_z, index[i][..., kept])
            streams = model.pack(symbols)
            crc = symbols.crc()
            return Compressed(*streams, crc, lambda: model.decompress(*streams, crc, t, size))

        return [self._threads.submit(pack, i) for i in range(len(pictures))]

    def unpack(self, files: Sequence[Streams]) -> list[Future[Symbols]]:
        """The first half of `decompress`: its symbols, on threads."""
        return [
            self._threads.submit(self._model.unpack_checked, one.z, one.y, one.symbols_crc, one.t, one.size)
            for one in files
        ]

    @torch.inference_mode()
    def decompress(self, files: Sequence[Streams], unpacked: Sequence[Future[Symbols]]) -> list[np.ndarray | None]:
        """Uint8 (H, W, 3) each, of one size that `fits`; None where the symbols cannot be had: `NativeModel.decompress`
        says why."""
        model, net = self._model, self._model.float_model
        found = [_result(future) for future in unpacked]
        good = [(one, symbols) for one, symbols in zip(files, found, strict=True) if symbols is not None]
        if not good:
            return [None] * len(files)
        t, parts, m = [one.t for one, _ in good], [symbols for _, symbols in good], model.m
        knob = model.knob(t)
        z_hat = as_tensor(np.stack([symbols.z for symbols in parts])).float()
        main, index_main = (np.stack([array[..., :m] for array in arrays]) for arrays in _y_and_index(parts))
        y_hat = Means(model).reconstruct(z_hat, main, index_main, t)
        count = max(symbols.y.shape[2] for symbols in parts) - m
        with model.autocast():
            c = net.predict(y_hat, knob)
            if count:
                detail, index = (
                    as_tensor(np.stack([_filled(array[..., m:], count) for array in arrays])).to(model.device)
                    for arrays in _y_and_index(parts)
                )
                c = c + net.undetail(net.reconstruction(detail.float(), index), knob)
        pixels = iter(self._pixels(c))
        height, width = files[0].size
        return [None if symbols is None else next(pixels)[:height, :width] for symbols in found]

    def _pixels(self, c: Tensor) -> np.ndarray:
        """(N, 16h, 16w, 3): one copy off the device for all."""
        x = self._model.float_model.dct.inverse(c).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
        return x.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _result(future: Future[Symbols]) -> Symbols | None:
    try:
        return future.result()
    except JndcodecError:
        return None


def _y_and_index(parts: Sequence[Symbols]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [symbols.y for symbols in parts], [symbols.index_y for symbols in parts]


def _filled(array: np.ndarray, count: int) -> np.ndarray:
    """(h, w, C) with zeros up to `count` channels."""
    return np.pad(array, [(0, 0), (0, 0), (0, count - array.shape[2])])
