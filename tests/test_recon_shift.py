"""Reconstruction inside of the symbol: where it is learned, and that both directions agree on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from jndcodec import Codec
from jndcodec.entropy.dead_zone import dead_zones, quantiser
from jndcodec.entropy.lookup import table_index
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.entropy.tables import COUNT, LOG_STEP, SCALE_MIN, gaussian_tables
from jndcodec.model.build import build_model
from jndcodec.model.export import export_weights
from jndcodec.model.native import NativeModel
from jndcodec.model.vbr import JlcVbr, VbrConfig
from jndcodec.weights import METADATA_KEY, load_tensors, model_id, read_info


@pytest.fixture(scope="module")
def model() -> JlcVbr:
    """Random weights with a shift of its own for every table."""
    torch.manual_seed(7)
    model = JlcVbr(
        VbrConfig(c16=16, m=16, linear=8, detail=32, ce=4, cz=8, d=16, ds=8, h8=8, h16=8, s8=1, s16=1)
    ).eval()
    with torch.no_grad():
        model.recon_shift.copy_(torch.linspace(0.3, 0.0, COUNT))
        model.gain_y.log_gain.add_(2.0)  # symbols of all sizes
    return model


@pytest.fixture(scope="module")
def native(model: JlcVbr, tmp_path_factory: pytest.TempPathFactory) -> NativeModel:
    path = tmp_path_factory.mktemp("shift") / "shift.safetensors"
    info = export_weights(model, path, name="shift", loss="rd, mse", calibration={"t_1jnd": 0.5}, record={})
    return NativeModel(info, "cpu", "fp32")


def test_reconstruction_lies_inside_of_the_symbol(model: JlcVbr) -> None:
    symbols = torch.tensor([-3.0, -1.0, 0.0, 1.0, 7.0])
    index = torch.tensor([0, 10, 10, 63, 10], dtype=torch.uint8)
    shift = model.recon_shift.detach()
    found = model.reconstruction(symbols, index).detach()
    torch.testing.assert_close(
        found, torch.stack([-3 + shift[0], -1 + shift[10], shift[0] * 0, 1 - shift[63], 7 - shift[10]])
    )


def test_index_of_a_scale() -> None:
    scales = torch.tensor([1e-6, SCALE_MIN, SCALE_MIN * np.exp(0.51 * LOG_STEP), SCALE_MIN * np.exp(9 * LOG_STEP), 1e6])
    assert table_index(scales.log()).tolist() == [0, 0, 1, 9, COUNT - 1]


@torch.no_grad()
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_training_reconstructs_what_a_decoder_will(
    native: NativeModel, photo: Callable[..., np.ndarray], share: float
) -> None:
    rgb, knob = photo(128, 128, 5), 30000
    y, energies = native.analyse(rgb, knob)
    z = native.hyper_analyse(y, energies, knob)
    zones = torch.from_numpy(dead_zones(gaussian_tables())) * share
    coded = native.quantise(rgb, y, z, knob, quantiser(zones))
    symbols, y_hat = coded.symbols, coded.y_hat
    assert 1 <= np.abs(symbols.y).max() and (symbols.index_y > 0).any()
    assert torch.equal(native.reconstruct(symbols, knob), y_hat)
    twin = native.float_model
    twin.dead_zone.copy_(zones)
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    out = twin(x, torch.tensor([knob / T_MAX]), hard=True)
    decoded = native.decoded(coded, knob, (128, 128))
    shown = (out.x_hat[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy()
    assert (np.abs(shown - decoded) <= 1).mean() > 0.99  # an index may differ between float and integer scales
    twin.dead_zone.zero_()


def test_the_shift_learns_where_values_lie(model: JlcVbr) -> None:
    out = model(torch.rand(1, 3, 64, 64), torch.tensor([0.5]))
    out.x_hat.square().mean().backward()
    assert model.recon_shift.grad.abs().max() > 0
    assert model.dead_zone.grad is None
    model.zero_grad()


def test_weights_of_before_have_no_shift(native: NativeModel, tmp_path: Path, photo: Callable[..., np.ndarray]) -> None:
    tensors = load_file(native.info.path)
    del tensors["float.recon_shift"]
    old = tmp_path / "old.safetensors"
    with open(native.info.path, "rb") as file:
        about = json.loads(json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"][METADATA_KEY])
    about["id"] = model_id(about["config"], tensors)
    save_file(tensors, old, metadata={METADATA_KEY: json.dumps(about)})
    info = read_info(old)
    assert not build_model(info, load_tensors(info)).recon_shift.any()
    picture = Image.fromarray(photo(64, 64, 2))
    codec = Codec(weights=old)
    assert codec.decode(codec.encode(picture)).size == (64, 64)
