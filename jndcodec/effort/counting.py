"""Probability tables fitted to the symbols of real pictures, at the default effort, over all rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jndcodec.effort import SINGLE_PASS, level_of
from jndcodec.entropy.rounding import quantiser
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.entropy.tables import COUNT, Tables, fitted_tables
from jndcodec.model.interface import size_of
from jndcodec.model.native import NativeModel
from jndcodec.sampling import spread
from jndcodec.weights import ModelInfo

PICTURES = 32  # that are looked at, their middles
CROP = 256  # pixels on a side
KNOBS = tuple(round(i / 8 * T_MAX) for i in range(9))
LARGEST = 2048  # symbols beyond count for the last table entry's Gaussian tail alone


def fit_tables(info: ModelInfo, pictures: Sequence[np.ndarray]) -> Tables:
    """Tables for the weights of `info`, from some of these pictures, uint8 (H, W, 3)."""
    model = NativeModel(info, device="cpu")
    chosen = spread(pictures, PICTURES)
    none = np.zeros((COUNT, 2 * LARGEST + 1), np.int64)
    counts = sum((count_symbols(model, middle(rgb, CROP), knob) for rgb in chosen for knob in KNOBS), none)
    return fitted_tables(counts)


def middle(rgb: np.ndarray, side: int) -> np.ndarray:
    """The middle `side` x `side` pixels of a picture (H, W, 3), or fewer where it has fewer."""
    y, x = (max(0, length - side) // 2 for length in size_of(rgb))
    return np.ascontiguousarray(rgb[y : y + side, x : x + side])


def count_symbols(model: NativeModel, rgb: np.ndarray, knob: int) -> np.ndarray:
    """int64 (COUNT, 2 LARGEST + 1): how often each symbol stands under each table in one picture's y."""
    y, energies = model.analyse(rgb, knob)
    quantise = quantiser(model.dead_zone, level_of(SINGLE_PASS).dead_zone)
    symbols = model.quantise(rgb, y, model.hyper_analyse(y, energies, knob), knob, quantise).symbols
    inside = np.abs(symbols.y) <= LARGEST
    place = symbols.index_y[inside].astype(np.int64) * (2 * LARGEST + 1) + symbols.y[inside] + LARGEST
    return np.bincount(place, minlength=COUNT * (2 * LARGEST + 1)).reshape(COUNT, -1)
