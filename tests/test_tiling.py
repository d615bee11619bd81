"""Windows with halos: memory stays bounded, and the result is that of the whole picture at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import nn

from jndcodec import Codec
from jndcodec.model import grid, means, transforms
from jndcodec.model.context import step_means, take_step
from jndcodec.model.export import export_weights
from jndcodec.model.layers import Slim
from jndcodec.model.native import Prediction
from jndcodec.model.tiling import Span, spans
from jndcodec.model.vbr import JlcVbr, VbrConfig

T = 40000


def test_spans_cover_everything_once() -> None:
    for total in (1, 4, 7, 64, 129):
        for size in (1, 3, 8, 200):
            windows = list(spans(total, size, 2))
            assert [i for window in windows for i in range(window.start, window.stop)] == list(range(total))
            assert all(0 <= w.low <= w.start < w.stop <= w.high <= total for w in windows)
            assert all(w.start - w.low == 2 or w.low == 0 for w in windows)
            assert all(w.high - w.stop == 2 or w.high == total for w in windows)


def test_span_scales() -> None:
    assert Span(2, 5, 1, 6).scaled(4) == Span(8, 20, 4, 24)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """Random weights: unlike a model at its KLT start, every layer looks at its neighbours."""
    torch.manual_seed(2)
    model = JlcVbr(
        VbrConfig(c8=24, c16=32, m=32, linear=8, detail=32, ce=4, cz=8, d=16, ds=8, h8=8, h16=8, s8=2, s16=2)
    ).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Slim):
                module.leave.weight.normal_()  # alive, and strong enough to be seen
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    export_weights(model, path, name="random", loss="none", calibration={"t_1jnd": 0.6}, record={})
    return Codec(weights=path, precision="fp32", engine="torch")


@pytest.mark.parametrize("size", [(320, 448), (500, 300), (64, 1100), (1100, 64)])
def test_tiled_is_untiled(
    size: tuple[int, int], codec: Codec, photo: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same symbols and same picture, from windows of 8x8 elements of y and strips of one row of z, but for the last bit
    of float sums: convolution kernels add in another order for another size, which turns one pixel in 10^5 by a level.
    """
    rgb = photo(*size)
    whole = codec.model.compress(rgb, T, 0.0)
    monkeypatch.setattr(grid, "WINDOW", 8)
    monkeypatch.setattr(grid, "STRIP", 64)
    parts = codec.model.compress(rgb, T, 0.0)
    symbols, same = (codec.model.unpack(coded.z, coded.y, T, size) for coded in (whole, parts))
    tiled = codec.model.decompress(whole.z, whole.y, whole.symbols_crc, T, size)
    monkeypatch.undo()
    untiled = codec.model.decompress(whole.z, whole.y, whole.symbols_crc, T, size)
    assert np.array_equal(symbols.z, same.z) and np.array_equal(symbols.index_y, same.index_y)
    assert (symbols.y != same.y).sum() <= 2
    difference = np.abs(tiled.astype(int) - untiled)
    assert difference.max() <= 1 and difference.mean() < 1e-3


def joined(predictions: Iterable[Prediction]) -> torch.Tensor:
    """Windows of DCT coefficients as one row of numbers, in the order of the picture."""
    parts = list(predictions)
    rows, columns = parts[-1][0].stop, parts[-1][1].stop
    whole = torch.empty(192, 2 * rows, 2 * columns)
    for row, column, c in parts:
        whole[:, row.scaled(2).target, column.scaled(2).target] = c[0]
    return whole


@pytest.mark.parametrize("stage", ["analyse", "hyper_analyse", "reconstruct", "predictions"])
def test_a_halo_too_small_is_seen(
    stage: str, codec: Codec, photo: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The halos are as wide as they must be: with one element less, the picture or the symbols change."""
    rgb, size = photo(320, 448), (320, 448)
    model = codec.model
    y, energies = model.analyse(rgb, T)
    symbols = model.unpack(*(lambda c: (c.z, c.y))(model.compress(rgb, T, 0.0)), T, size)
    run = {
        "analyse": lambda: model.analyse(rgb, T)[0],
        "hyper_analyse": lambda: model.hyper_analyse(y, energies, T),
        "reconstruct": lambda: model.reconstruct(symbols, T),
        "predictions": lambda: joined(model.predictions(model.reconstruct(symbols, T), T)),
    }[stage]
    whole = run()
    monkeypatch.setattr(grid, "WINDOW", 8)
    monkeypatch.setattr(grid, "STRIP", 64)
    owner, halo = {
        "analyse": (model, "g_a_halo"),
        "hyper_analyse": (transforms, "H_A_HALO"),
        "reconstruct": (means, "H_S_HALO"),
        "predictions": (model, "g_s_halo"),
    }[stage]
    right = (run() - whole).abs().mean().item()
    monkeypatch.setattr(owner, halo, getattr(owner, halo) - 1)
    wrong = (run() - whole).abs().mean().item()
    assert right < 1e-4 and wrong > 10 * right


@pytest.mark.parametrize("step", range(4))
def test_means_of_a_step_are_what_the_whole_layer_has_there(step: int) -> None:
    torch.manual_seed(step)
    layer, p = nn.Conv2d(12, 16, 1), torch.randn(2, 12, 6, 10)
    torch.testing.assert_close(step_means(layer, p, step), take_step(layer(p), step))
