"""Huge pictures: symbols and table indexes kept deflated are the plain ones, and take less memory."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jndcodec.entropy import elements
from jndcodec.entropy.elements import Deflated, first_channels, new_indexes, new_symbols
from jndcodec.model import grid
from jndcodec.model.native import NativeModel
from jndcodec.model.onnx_engine import OnnxEngine
from jndcodec.model.onnx_model import OnnxModel
from jndcodec.weights import load_tensors, read_info

T = 30000


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


PLACES = [
    np.s_[2:5],
    np.s_[:, :, 3:],
    np.s_[..., 4:],
    np.s_[..., :4],
    np.s_[1:3, 2:9, 3:7],
    np.s_[4:6, 3:6, 5:],
    np.s_[0:7, 6:11, 4:9],
]


@pytest.mark.parametrize("place", PLACES)
def test_deflated_reads_and_writes_as_an_array(place: tuple[slice, ...]) -> None:
    rng = np.random.default_rng(1)
    plain, packed = np.zeros((7, 11, 10), np.int16), Deflated((7, 11, 10), 4, np.int16, 3)
    for at in (np.s_[:], place):
        values = rng.integers(-300, 300, plain[at].shape).astype(np.int16) * (rng.random(plain[at].shape) < 0.3)
        plain[at] = values
        packed[at] = values
        np.testing.assert_array_equal(np.asarray(packed), plain)
    for at in PLACES:
        np.testing.assert_array_equal(packed[at], plain[at])
    np.testing.assert_array_equal(np.asarray(first_channels(packed, 7)), plain[..., :7])
    packed[:] = np.zeros_like(plain)
    assert not np.asarray(packed).any()


def test_views_of_the_first_channels_are_written_through() -> None:
    packed = Deflated((4, 4, 8), 4, np.uint8, 4)
    packed[..., :4][1::2, ::2, 1:2] = 9
    assert np.asarray(packed)[1::2, ::2, 1].all() and np.count_nonzero(np.asarray(packed)) == 4


def test_small_pictures_have_plain_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = 10, 20, 30
    assert isinstance(new_indexes(shape, 8, 10), np.ndarray)
    monkeypatch.setattr(elements, "PLAIN", 5999)
    index = new_indexes(shape, 8, 10)
    assert isinstance(index, Deflated) and isinstance(new_symbols(index), Deflated)
    assert isinstance(new_indexes(shape, 30, 10), np.ndarray)  # no detail, nothing to deflate


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_files_are_the_same(
    engine: str, tiny_weights: Path, photo: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    info, rgb = read_info(tiny_weights), photo(330, 250, 3)
    model = OnnxModel(info, 1) if engine == "onnx" else NativeModel(info, "cpu", "fp32")
    monkeypatch.setattr(grid, "WINDOW", 9)
    plain = model.compress(rgb, T)
    assert len(plain.y) > 2 and model.unpack(plain.z, plain.y, T, rgb.shape[:2]).y[..., model.m :].any()
    picture = plain.reconstruct()
    monkeypatch.setattr(elements, "PLAIN", 0)
    packed = model.compress(rgb, T)
    assert (packed.z, packed.y, packed.symbols_crc) == (plain.z, plain.y, plain.symbols_crc)
    np.testing.assert_array_equal(packed.reconstruct(), picture)
    assert isinstance(model.unpack(plain.z, plain.y, T, rgb.shape[:2]).y, Deflated)
    np.testing.assert_array_equal(model.decompress(plain.z, plain.y, plain.symbols_crc, T, rgb.shape[:2]), picture)


def test_what_is_hardly_coded_hardly_takes_memory() -> None:
    rng, shape, m = np.random.default_rng(2), (40, 128, 500), 20
    tracemalloc.start()
    packed = Deflated(shape, m, np.int16, 64)
    for row in range(shape[0]):
        values = rng.integers(-3, 4, (1, *shape[1:])).astype(np.int16) * (rng.random((1, *shape[1:])) < 0.01)
        packed[row : row + 1] = values
        assert (packed[row : row + 1] == values).all()
    del values
    held = tracemalloc.get_traced_memory()[0] - packed.main.nbytes
    tracemalloc.stop()
    assert held < 0.05 * shape[0] * shape[1] * (shape[2] - m) * 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_session_keeps_no_window(tiny_weights: Path, photo: Callable[..., np.ndarray]) -> None:
    info = read_info(tiny_weights)
    engine, small = OnnxEngine(info, load_tensors(info), 1), photo(64, 64)
    engine.analyse(small, T)
    before = resident()
    engine.analyse(np.tile(small, (32, 32, 1)), T)
    assert resident() - before < 100e6  # with an arena 220 MB stay


def test_windows_of_the_largest_pictures_are_narrower(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grid.window(*grid.latent_size(5000, 8000)) == grid.WINDOW
    assert grid.window(*grid.latent_size(8165, 12248)) == grid.NARROW_WINDOW
    monkeypatch.setattr(grid, "WINDOW", 8)
    assert grid.window(1000, 1000) == 8
