"""A native model on ONNX Runtime and numpy alone: what `native.NativeModel` does in a single pass, without torch.

Arrays lie channels last, (h, w, C). Any float engine may run the networks: the decoder never rounds a mean, and what
decides symbols is `ExactStage`, which both share. Engines differ in the last bits of a float, so in a level of a pixel
now and then, and an encoder's in a symbol that lies on the edge of rounding; never in a symbol that is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jndcodec.entropy.elements import first_channels, new_symbols
from jndcodec.entropy.symbols import SYMBOL_LIMIT, Symbols
from jndcodec.entropy.tables import COUNT
from jndcodec.errors import ModelError
from jndcodec.model import grid
from jndcodec.model.exact import ExactStage, up_to_last, used, worth_having
from jndcodec.model.grid import CELL, STEPS, STRIDE_Y, latent_size, reaches, step_parts, strips
from jndcodec.model.interface import Compressed, Progress, silent, size_of
from jndcodec.model.memory import keep_freed_memory
from jndcodec.model.onnx_engine import OnnxEngine
from jndcodec.model.tiling import Span, read_padded, windows
from jndcodec.weights import FLOAT_PREFIX, ModelInfo, load_tensors

ANALYSIS, SYNTHESIS = 0.5, 0.6  # about the shares of g_a and g_s in the time of their directions, for progress

Place = tuple[slice, slice, slice]  # in (h, w, C)


class OnnxModel(ExactStage):
    """Codes pictures with one weights file on the CPU in float32."""

    engine = "onnx"

    def __init__(self, info: ModelInfo, threads: int | None = None) -> None:
        """threads: that networks run on; None for all cores."""
        keep_freed_memory()
        tensors = load_tensors(info)
        try:
            super().__init__(info, tensors)
            self.networks = OnnxEngine(info, tensors, threads)
            self.g_a_halo, self.g_s_halo = reaches(info.config["s8"], info.config["s16"])
        except (KeyError, ValueError, IndexError) as error:
            raise ModelError(f"{info.path}: its tensors do not fit its config: {error}") from error
        shift = tensors.get(f"{FLOAT_PREFIX}recon_shift")  # weights of before there were any have none
        self.recon_shift = np.zeros(COUNT, np.float32) if shift is None else shift.astype(np.float32)

    # -- the two directions (jndcodec.model.interface)

    def compress(self, rgb: np.ndarray, t: int, dead_zone: float = 1.0, progress: Progress = silent) -> Compressed:
        y, energies = self.analyse(rgb, t, lambda share: progress(ANALYSIS * share))
        symbols, y_hat, kept = self.quantise(rgb, y, self.hyper_analyse(y, energies, t), t, dead_zone)
        streams, crc = self.pack(symbols), symbols.crc()
        progress(1.0)
        return Compressed(*streams, crc, lambda: self.decoded(y_hat, symbols, t, size_of(rgb), kept=kept))

    def decompress(
        self, z: bytes, y: bytes, symbols_crc: int, t: int, size: tuple[int, int], progress: Progress = silent
    ) -> np.ndarray:
        symbols = self.unpack_checked(z, y, symbols_crc, t, size)
        y_hat = self.reconstruct(symbols, t)
        return self.decoded(y_hat, symbols, t, size, lambda share: progress(1 - SYNTHESIS * (1 - share)))

    # -- the encoder

    def analyse(self, rgb: np.ndarray, t: int, progress: Progress = silent) -> tuple[np.ndarray, np.ndarray]:
        """g_a, window by window: y, and the energies of the detail."""
        size = latent_size(*size_of(rgb))
        y, energies = (np.empty((*size, self.info.config[key]), np.float32) for key in ("m", "ce"))
        parts = windows(*size, grid.window(*size), self.g_a_halo)
        for i, (row, column) in enumerate(parts):
            found = self.networks.analyse(read_padded(rgb, row.scaled(STRIDE_Y), column.scaled(STRIDE_Y)), t)
            for whole, part in zip((y, energies), found, strict=True):
                whole[row.target, column.target] = part[row.inner, column.inner]
            progress((i + 1) / len(parts))
        return y, energies

    def hyper_analyse(self, y: np.ndarray, energies: np.ndarray, t: int) -> np.ndarray:
        """h_a in strips, on what `analyse` gives: z before rounding."""
        parts = []
        for span in strips(*size_of(y), grid.H_A_HALO):
            rows = span.scaled(CELL).outer
            parts.append(self.networks.hyper_analyse(y[rows], energies[rows], t)[span.inner])
        return np.concatenate(parts)

    def quantise(
        self, rgb: np.ndarray, y: np.ndarray, z: np.ndarray, t: int, dead_zone: float
    ) -> tuple[Symbols, np.ndarray, Any]:
        """Round z and y, with this share of the dead zones, and what they leave of the picture: symbols, y_hat (in y's
        memory), and what g_s makes of it where the picture is a single window."""
        index_z = self.scale_network.indexes_z(t)
        z_hat = np.clip(np.rint(z), -SYMBOL_LIMIT, SYMBOL_LIMIT).astype(np.int16) * (index_z > 0)
        index = self.indexes(z_hat, t, size_of(y), self.audible(t))
        count, kept = up_to_last(used(index, self.m) > 0), None
        index = first_channels(index, self.m + count)
        out, offset = new_symbols(index), 0.5 - np.float32(dead_zone) * self.dead_zones

        def quantise(values: np.ndarray, place: Place) -> np.ndarray:
            here = index[place]
            symbols = np.minimum(np.floor(np.abs(values) + offset.take(here)), SYMBOL_LIMIT) * (here > 0)
            coded = np.copysign(symbols, values).astype(np.int16)
            out[place] = coded
            return self._inside(coded, here)

        self._refine(z_hat, t, lambda place, mean: quantise(y[place] - mean, place), y)
        if count:
            parts = windows(*size_of(y), grid.window(*size_of(y)), self.g_s_halo)
            for row, column in parts:
                kept = self._predict(y, t, row, column)
                found = self.networks.detail(_blocks(rgb, row, column), kept, t, count)
                quantise(found, (row.target, column.target, slice(self.m, None)))
            kept = kept if len(parts) == 1 else None
            count = worth_having(used(out, self.m))
        coded, index_coded = (first_channels(part, self.m + count) for part in (out, index))
        return Symbols(z_hat, coded, index_z, index_coded), y, kept

    # -- the decoder

    def reconstruct(self, symbols: Symbols, t: int) -> np.ndarray:
        """y_hat from symbols."""
        y_hat = np.empty((*symbols.y.shape[:2], self.m), np.float32)
        self._refine(symbols.z, t, lambda place, mean: self._inside(symbols.y[place], symbols.index_y[place]), y_hat)
        return y_hat

    def decoded(
        self, y_hat: np.ndarray, symbols: Symbols, t: int, size: tuple[int, int], progress: Progress = silent,
        kept: Any = None,
    ) -> np.ndarray:  # fmt: skip
        """The picture of `size` = (H, W), window by window. kept: what g_s makes of y_hat, if that is known."""
        rgb = np.empty((*size, 3), np.uint8)
        parts = windows(*size_of(y_hat), grid.window(*size_of(y_hat)), self.g_s_halo)
        for i, (row, column) in enumerate(parts):
            predicted = self._predict(y_hat, t, row, column) if kept is None else kept
            place = row.target, column.target, slice(self.m, None)
            part = self.networks.finish(predicted, self._inside(symbols.y[place], symbols.index_y[place]), t)
            target = rgb[row.scaled(STRIDE_Y).target, column.scaled(STRIDE_Y).target]
            target[:] = part[: target.shape[0], : target.shape[1]]
            progress((i + 1) / len(parts))
        return rgb

    # -- shared by both

    def _refine(
        self, z_hat: np.ndarray, t: int, code: Callable[[Place, np.ndarray], np.ndarray], y_hat: np.ndarray
    ) -> None:
        """The four steps of context: y_hat = code(place, mean) + mean, each step at its places in (h, w, m). What y_hat
        holds there before does not matter: it is masked until its step has come."""
        rows, columns, channels = y_hat.shape
        parts = strips(rows, columns, grid.H_S_HALO)
        features = None
        for step in range(STEPS):
            for coarse in parts:
                span = coarse.scaled(CELL)
                low, high, stop = span.low, min(span.high, rows), min(span.stop, rows)
                if features is None or len(parts) > 1:  # kept between steps where one strip is all
                    features = self.networks.features(z_hat[coarse.outer], high - low, columns)
                state = y_hat[low:high].copy()
                for later in range(step, STEPS):
                    for part in step_parts(later, channels):
                        state[part] = 0
                mean = self.networks.mean(step, state, features, t)[span.start - low : stop - low]
                for part in step_parts(step, channels):
                    place = slice(span.start + part[0].start, stop, 2), part[1], part[2]
                    y_hat[place] = code(place, mean[part]) + mean[part]

    def _predict(self, y_hat: np.ndarray, t: int, row: Span, column: Span) -> np.ndarray:
        """g_s of what a window answers for."""
        predicted = self.networks.predict(y_hat[row.outer, column.outer], t)
        return predicted[:, :, row.scaled(2).inner, column.scaled(2).inner]

    def _inside(self, symbols: np.ndarray, index: np.ndarray) -> np.ndarray:
        """What symbols stand for, float32: values that were rounded to one lie nearer to the mean than the symbol."""
        return symbols - np.clip(symbols, -1, 1) * self.recon_shift.take(index)


def _blocks(rgb: np.ndarray, row: Span, column: Span) -> np.ndarray:
    """The pixels that a window over y answers for; beyond the bottom and the right, the edge again."""
    alone = (Span(span.start, span.stop, span.start, span.stop).scaled(STRIDE_Y) for span in (row, column))
    return read_padded(rgb, *alone)
