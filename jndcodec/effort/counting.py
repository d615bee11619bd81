"""What a model codes real pictures as, at the default effort, over all rates: fitted tables, use of detail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jndcodec.effort import SINGLE_PASS, level_of
from jndcodec.entropy.rounding import quantiser
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.entropy.tables import COUNT, Tables, fitted_tables
from jndcodec.model.exact import used
from jndcodec.model.interface import size_of
from jndcodec.model.native import Coded, NativeModel
from jndcodec.sampling import spread
from jndcodec.weights import ModelInfo

PICTURES = 32  # that are looked at, their middles
CROP = 256  # pixels on a side
KNOBS = tuple(round(i / 8 * T_MAX) for i in range(9))
LARGEST = 2048  # symbols beyond count for the last table entry's Gaussian tail alone


@dataclass
class Counts:
    """symbols: int64 (COUNT, 2 LARGEST + 1), how often each symbol stands under each table. detail: int64 (detail,),
    how many of each channel's symbols are not 0; of one picture those of the channels that it sends."""

    symbols: np.ndarray
    detail: np.ndarray

    def tables(self) -> Tables:
        """Probability tables fitted to the symbols."""
        return fitted_tables(self.symbols)

    def order(self) -> np.ndarray:
        """Channels of detail from the most to the least used, int64 (detail,): an encoder leaves out the last ones."""
        return np.argsort(-self.detail, kind="stable")


def count(info: ModelInfo, pictures: Sequence[np.ndarray]) -> Counts:
    """For the weights of `info`, from some of these pictures, uint8 (H, W, 3)."""
    model = NativeModel(info, device="cpu")
    total = Counts(np.zeros((COUNT, 2 * LARGEST + 1), np.int64), np.zeros(model.float_model.config.detail, np.int64))
    for rgb in middles(pictures, PICTURES, CROP):
        for knob in KNOBS:
            found = count_symbols(model, rgb, knob)
            total.symbols += found.symbols
            total.detail[: len(found.detail)] += found.detail
    return total


def middles(pictures: Sequence[np.ndarray], count: int, side: int, smallest: int = 1) -> list[np.ndarray]:
    """The `middle` of at most `count` of the pictures, of those with `smallest` pixels on their short side."""
    large = [rgb for rgb in pictures if min(size_of(rgb)) >= smallest]
    return [middle(rgb, side) for rgb in spread(large, count)]


def middle(rgb: np.ndarray, side: int) -> np.ndarray:
    """The middle `side` x `side` pixels of a picture (H, W, 3), or fewer where it has fewer."""
    y, x = (max(0, length - side) // 2 for length in size_of(rgb))
    return np.ascontiguousarray(rgb[y : y + side, x : x + side])


def code(model: NativeModel, rgb: np.ndarray, knob: int) -> Coded:
    """What a picture is coded as at the default effort."""
    y, energies = model.analyse(rgb, knob)
    quantise = quantiser(model.dead_zone, level_of(SINGLE_PASS).dead_zone)
    return model.quantise(rgb, y, model.hyper_analyse(y, energies, knob), knob, quantise)


def count_symbols(model: NativeModel, rgb: np.ndarray, knob: int) -> Counts:
    """In one picture at one knob."""
    symbols = code(model, rgb, knob).symbols
    inside = np.abs(symbols.y) <= LARGEST
    place = symbols.index_y[inside].astype(np.int64) * (2 * LARGEST + 1) + symbols.y[inside] + LARGEST
    counts = np.bincount(place, minlength=COUNT * (2 * LARGEST + 1)).reshape(COUNT, -1)
    return Counts(counts, used(symbols.y, model.m))
