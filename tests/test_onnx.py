"""ONNX Runtime and torch: the same symbols of a file, pixels within two levels; files of each decode in the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from jndcodec import Codec
from jndcodec.container.jlc import Section, parse
from jndcodec.model import choice, grid
from jndcodec.model.export import export_weights
from jndcodec.model.native import NativeModel
from jndcodec.model.onnx_engine import OnnxEngine
from jndcodec.model.onnx_model import OnnxModel
from jndcodec.model.vbr import JlcVbr, VbrConfig
from jndcodec.weights import ModelInfo, load_tensors, read_info

T = 40000
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> ModelInfo:
    """Random weights: every layer counts, as do all channels of detail."""
    torch.manual_seed(3)
    model = JlcVbr(
        VbrConfig(c8=24, c16=32, m=32, linear=8, detail=64, ce=4, cz=8, d=16, ds=8, h8=8, h16=8, s8=2, s16=1)
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("leave.weight", "log_gain")):
                parameter.add_(0.1 * torch.randn_like(parameter))
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
        model.recon_shift.copy_(torch.linspace(0.3, 0.0, len(model.recon_shift)))
        model.basis.copy_(torch.linalg.qr(torch.randn(768, 768))[0][:64])
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    return export_weights(model, path, name="random", loss="none", calibration={"t_1jnd": 0.6}, record={})


@pytest.fixture(scope="module")
def light(info: ModelInfo) -> OnnxModel:
    return OnnxModel(info, threads=1)


@pytest.fixture(scope="module")
def heavy(info: ModelInfo) -> NativeModel:
    return NativeModel(info, "cpu", "fp32")


def last(x: torch.Tensor) -> np.ndarray:
    return x[0].permute(1, 2, 0).numpy()


@torch.inference_mode()
def test_every_network_computes_what_torch_does(info: ModelInfo, heavy: NativeModel, photo: Callable) -> None:
    engine, model, gains = OnnxEngine(info, load_tensors(info), 1), heavy.float_model, heavy.gains(T)
    rgb = photo(80, 112, 1)
    c = model.dct(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255)
    y, energies = model.analyse(c, gains)
    z_hat = torch.round(model.hyper_analyse(y, energies, gains))
    features = model.h_s(z_hat)[:, :, :5, :7]
    predicted = model.predict(y, gains)
    detail = model.detail(c - predicted, gains, 40)

    def means(step: int) -> np.ndarray:
        return last(model.step_mean(step, y, features, gains.sigma))

    pairs = [
        *zip(engine.analyse(rgb, T), (last(y), last(energies)), strict=True),
        (engine.hyper_analyse(last(y), last(energies), T), last(model.hyper_analyse(y, energies, gains))),
        (engine.features(last(z_hat), 5, 7), features.numpy()),
        *(
            (
                engine.mean(step, last(y), features.numpy(), T),
                last(model.step_mean(step, y, features, gains.sigma)),
            )
            for step in range(4)
        ),
        (engine.predict(last(y), T), predicted.numpy()),
        (engine.detail(rgb, predicted.numpy(), T, 40), last(detail)),
    ]
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    for count in (0, 40):
        c_hat = predicted + (model.undetail(detail, gains) if count else 0)
        wanted = last(model.dct.inverse(c_hat).clamp(0, 1) * 255).round()
        assert np.abs(engine.finish(predicted.numpy(), last(detail)[..., :count], T) - wanted).max() <= 1


@pytest.mark.parametrize("size", [(320, 448), (150, 210), (17, 1), (1, 40)])
def test_files_of_each_decode_in_the_other(
    size: tuple[int, int], light: OnnxModel, heavy: NativeModel, photo: Callable
) -> None:
    rgb = photo(*size)
    for writer, reader in ((light, heavy), (heavy, light)):
        coded = writer.compress(rgb, T)
        own, other = (
            model.decompress(coded.z, coded.y, coded.symbols_crc, T, size).astype(int) for model in (writer, reader)
        )
        np.testing.assert_array_equal(coded.reconstruct(), own)
        assert np.abs(own - other).max() <= 2
    first, second = (model.unpack(*streams(model, rgb), T, size) for model in (light, heavy))
    assert first.y.shape[2] > light.m and (first.y.shape != second.y.shape or (first.y != second.y).mean() < 1e-3)


def streams(model: OnnxModel | NativeModel, rgb: np.ndarray) -> tuple[bytes, bytes]:
    coded = model.compress(rgb, T)
    return coded.z, coded.y


def test_bf16_files_decode_in_onnx(info: ModelInfo, light: OnnxModel, photo: Callable) -> None:
    coded = NativeModel(info, "cpu", "bf16").compress(photo(96, 120), T)
    decoded = light.decompress(coded.z, coded.y, coded.symbols_crc, T, (96, 120))
    assert np.abs(decoded.astype(int) - coded.reconstruct()).mean() < 1


@pytest.mark.parametrize("size", [(320, 448), (64, 1100), (500, 300)])
def test_tiled_is_untiled(
    size: tuple[int, int], light: OnnxModel, photo: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = photo(*size, 4)
    whole = light.compress(rgb, T)
    untiled = whole.reconstruct()
    monkeypatch.setattr(grid, "WINDOW", 8)
    monkeypatch.setattr(grid, "STRIP", 64)
    parts = light.compress(rgb, T)
    symbols, same = (light.unpack(coded.z, coded.y, T, size) for coded in (whole, parts))
    assert np.array_equal(symbols.z, same.z) and np.array_equal(symbols.index_y, same.index_y)
    assert (symbols.y != same.y).mean() < 1e-4
    difference = np.abs(light.decompress(whole.z, whole.y, whole.symbols_crc, T, size).astype(int) - untiled)
    assert difference.max() <= 1 and difference.mean() < 1e-3


def test_graphs_are_valid(info: ModelInfo) -> None:
    onnx = pytest.importorskip("onnx")
    engine = OnnxEngine(info, load_tensors(info), 1)
    for name in engine.networks.makers:
        model = onnx.load_from_string(engine.networks.build(name).serialize())
        assert model.graph.node and {entry.name for entry in model.graph.initializer}


def test_threads_change_no_symbol(info: ModelInfo, light: OnnxModel, photo: Callable) -> None:
    coded = light.compress(photo(96, 120), T)
    decoded = OnnxModel(info, threads=2).decompress(coded.z, coded.y, coded.symbols_crc, T, (96, 120))
    assert np.abs(decoded.astype(int) - coded.reconstruct()).max() <= 1


def test_the_engine_depends_on_what_was_asked_alone(
    info: ModelInfo, photo: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "torch_is_faster", lambda: True)
    monkeypatch.setattr(choice, "PIXELS", 4000)
    codec, used = Codec(weights=info.path), []
    for size in ((50, 60), (50, 60), (64, 64), (50, 60)):
        data = codec.encode(photo(*size), lossless=False)
        used.append(codec.model.engine)
        codec.decode(data)
        assert codec.model.engine == used[-1]
    assert used == ["onnx", "onnx", "torch", "onnx"]
    assert len(list(codec.encode_batch([photo(50, 60)] * 2, batch_size=2, lossless=False))) == 2
    assert codec.model.engine == "onnx"


def test_many_pictures_pay_for_loading_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "torch_is_faster", lambda: True)
    found = [choice.engine_for("auto", "auto", pictures=count) for count in (1, choice.PICTURES - 1, choice.PICTURES)]
    assert found == ["auto", "auto", "torch"]
    assert choice.engine_for("auto", "fp32", pictures=choice.PICTURES) == "auto"
    assert choice.engine_for("onnx", "auto", pictures=choice.PICTURES) == "onnx"
    monkeypatch.setattr(choice, "torch_is_faster", lambda: False)
    assert choice.engine_for("auto", "auto", pictures=1000, pixels=10**9) == "auto"


@pytest.mark.parametrize("name", ["rgb", "low", "high", "one"])
def test_golden_files_have_the_golden_symbols(name: str) -> None:
    model = OnnxModel(read_info(GOLDEN / "golden.safetensors"), 1)
    jlc = parse((GOLDEN / f"{name}.jlc").read_bytes())
    size, streams = (jlc.height, jlc.width), (jlc.sections[Section.Z], jlc.sections[Section.Y])
    symbols = model.unpack(*streams, jlc.t, size)
    with np.load(GOLDEN / f"{name}.npz") as golden:
        for part in golden.files:
            np.testing.assert_array_equal(getattr(symbols, part), golden[part])
    assert model.decompress(*streams, jlc.symbols_crc, jlc.t, size).shape == (*size, 3)
