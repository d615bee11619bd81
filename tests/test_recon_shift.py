"""Reconstruction inside of the symbol: where it is learned, and that both directions agree on it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from jndcodec import Codec
from jndcodec.entropy.dead_zone import dead_zones
from jndcodec.entropy.lookup import look_up, sum_by_index, table_index
from jndcodec.entropy.rounding import quantiser
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.entropy.tables import COUNT, LOG_STEP, SCALE_MIN, gaussian_tables
from jndcodec.model.build import build_model
from jndcodec.model.export import export_weights
from jndcodec.model.gains import RateGain
from jndcodec.model.layers import gaussian_bits
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
    twin.round_with(zones)
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    out = twin(x, torch.tensor([knob / T_MAX]), hard=True)
    decoded = native.decoded(coded, knob, (128, 128))
    shown = (out.x_hat[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy()
    assert (np.abs(shown - decoded) <= 1).mean() > 0.99  # an index may differ between float and integer scales
    twin.round_with(torch.zeros(COUNT))


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


def test_gradient_of_a_look_up_is_the_sum_of_each_table() -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(0, COUNT, (2, 3, 40, 5), generator=generator).to(torch.uint8)
    values = torch.randn(index.shape, generator=generator)
    table = torch.zeros(COUNT, requires_grad=True)
    (found,) = torch.autograd.grad(look_up(table, index), table, values)
    expected = torch.stack([values[index == k].sum() for k in range(COUNT)])
    torch.testing.assert_close(found, expected)
    flat = (values.flatten(), index.flatten().int())
    for parallel in (False, True):
        torch.testing.assert_close(sum_by_index(*flat, parallel=parallel), expected)


def test_bits_of_a_gaussian_and_their_slopes() -> None:
    residual = torch.tensor([0.0, 0.3, -2.2, 7.0, 0.1, 400.0], dtype=torch.float64, requires_grad=True)
    log_scale = torch.tensor([0.2, -1.0, 0.5, 3.0, -9.0, 9.0], dtype=torch.float64, requires_grad=True)
    scale = log_scale.detach().clamp(math.log(0.11), math.log(256)).exp()
    normal = torch.distributions.Normal(0.0, scale)
    at = residual.detach()
    expected = -torch.log2((normal.cdf(at + 0.5) - normal.cdf(at - 0.5)).clamp_min(1e-9))
    torch.testing.assert_close(gaussian_bits(residual[None], log_scale[None])[0].detach(), expected)
    assert torch.autograd.gradcheck(gaussian_bits, (residual[None, 1:], log_scale[None, 1:]))
    tiny, smallest = (
        torch.full((2, 3), -9.0, requires_grad=True),
        torch.full((2, 3), math.log(0.11), requires_grad=True),
    )
    (heard,) = torch.autograd.grad(gaussian_bits(torch.full((2, 3), 0.7), tiny, heard_from=2).sum(), tiny)
    (at_smallest,) = torch.autograd.grad(gaussian_bits(torch.full((2, 3), 0.7), smallest).sum(), smallest)
    assert not heard[:, :2].any() and heard[:, 2:].all()
    torch.testing.assert_close(heard[:, 2:], at_smallest[:, 2:])
    units = torch.tensor([[0.1], [0.9]], dtype=torch.float64, requires_grad=True)  # one scale for several elements
    assert torch.autograd.gradcheck(gaussian_bits, (residual[None, 1:4].repeat(2, 1), units))


def test_gains_between_anchors_and_their_gradient() -> None:
    gain = RateGain(3, 5)
    with torch.no_grad():
        gain.log_gain.normal_(generator=torch.Generator().manual_seed(1))
    t = torch.tensor([0.0, 0.3, 0.5, 1.0])
    left = (t * 4).floor().clamp(max=3).long()
    share = (t * 4 - left)[:, None]
    expected = (1 - share) * gain.log_gain[left] + share * gain.log_gain[left + 1]
    found = gain.log(t)[:, :, 0, 0]
    torch.testing.assert_close(found, expected)
    assert torch.equal(found, torch.cat([gain.log(one[None])[:, :, 0, 0] for one in t]))  # alone or in a batch
    towards = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    for a, b in zip(*(torch.autograd.grad(v, gain.log_gain, towards) for v in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)
