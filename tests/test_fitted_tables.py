"""Probability tables fitted to what was counted, and counted on pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jndcodec import Codec
from jndcodec.effort.counting import LARGEST, Counts, count, count_symbols, middle
from jndcodec.entropy.tables import COUNT, MIN_HALF_WIDTH, fitted_tables, gaussian_tables
from jndcodec.weights import read_info

INDEX = 20


def test_nothing_counted_gives_the_gaussians() -> None:
    fitted, gaussian = fitted_tables(np.zeros((COUNT, 7))), gaussian_tables()
    assert np.abs(fitted.cdf - gaussian.cdf).max() <= 1
    np.testing.assert_array_equal(fitted.size, gaussian.size)
    np.testing.assert_array_equal(fitted.offset, gaussian.offset)


def test_fitted_tables_cost_what_the_counts_say() -> None:
    """Far more symbols than the prior: the cost comes near the entropy of the counts; other tables stay."""
    counts = np.zeros((COUNT, 9))
    counts[INDEX] = [0, 0, 1e5, 3e5, 1.2e6, 3e5, 1e5, 0, 0]
    symbols = np.repeat(np.arange(-4, 5), (counts[INDEX] / 1000).astype(int)).astype(np.int16)
    index = np.full(len(symbols), INDEX, np.uint8)
    share = counts[INDEX][counts[INDEX] > 0] / counts[INDEX].sum()
    entropy = -(share * np.log2(share)).sum() * len(symbols)
    fitted, gaussian = fitted_tables(counts), gaussian_tables()
    assert entropy < fitted.bits(symbols, index).sum() < 1.01 * entropy
    assert gaussian.bits(symbols, index).sum() > 1.02 * entropy
    other = np.full(9, INDEX + 1, np.uint8)
    symbols = np.arange(-4, 5).astype(np.int16)
    np.testing.assert_allclose(fitted.bits(symbols, other), gaussian.bits(symbols, other), rtol=1e-3)


def test_both_signs_count_alike_and_every_symbol_stays_possible() -> None:
    counts = np.zeros((COUNT, 2 * MIN_HALF_WIDTH + 201))
    counts[1:, counts.shape[1] // 2 + 1] = 1e9  # only ever +1
    tables = fitted_tables(counts)
    one, index = np.array([1, -1], np.int16), np.full(2, INDEX, np.uint8)
    cost = tables.bits(one, index)
    assert cost[0] == pytest.approx(cost[1], abs=0.01) and cost[0] == pytest.approx(1, abs=0.01)
    every = np.arange(tables.low[INDEX], tables.high[INDEX] + 1).astype(np.int16)
    assert tables.bits(every, np.full(len(every), INDEX, np.uint8)).max() <= 16


def test_tables_of_pictures_save_bits_on_others(tiny_weights: Path, photo: Callable[..., np.ndarray]) -> None:
    def half_flat(height: int, width: int, seed: int) -> np.ndarray:
        """What no Gaussian fits, and the tiny model's scales do not tell apart."""
        rgb = photo(height, width, seed)
        rgb[:, : width // 2] = 128
        return rgb

    tables = count(read_info(tiny_weights), [half_flat(200, 200, seed) for seed in range(4)]).tables()
    model, saved = Codec(weights=tiny_weights, engine="torch").model, []
    for seed in range(10, 14):
        rgb = half_flat(128, 192, seed)
        counts = count_symbols(model, rgb, 30000).symbols
        index, symbol = np.nonzero(counts)
        bits = [
            (t.bits((symbol - LARGEST).astype(np.int16), index.astype(np.uint8)) * counts[index, symbol]).sum()
            for t in (tables, gaussian_tables())
        ]
        saved.append(1 - bits[0] / bits[1])
    assert np.mean(saved) > 0.05


def test_counts_are_of_every_element(tiny_weights: Path, photo: Callable[..., np.ndarray]) -> None:
    model = Codec(weights=tiny_weights, engine="torch").model
    counts = count_symbols(model, photo(64, 128), 50000).symbols
    elements, rest = divmod(counts.sum(), 4 * 8)
    assert rest == 0 and model.m < elements <= model.m + model.float_model.config.detail
    assert counts[0].sum() == counts[0, LARGEST]  # what is not coded is 0


def test_channels_are_ordered_by_use() -> None:
    assert Counts(np.zeros(0), np.array([2, 9, 0, 9, 3])).order().tolist() == [1, 3, 4, 0, 2]


def test_the_middle_of_a_picture() -> None:
    rgb = np.arange(5 * 8 * 3).reshape(5, 8, 3)
    np.testing.assert_array_equal(middle(rgb, 4), rgb[0:4, 2:6])
    np.testing.assert_array_equal(middle(rgb, 6), rgb[:, 1:7])
