"""The same symbols whatever the machine does: threads, precision, libraries. And what happens when they differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jndcodec.codec import Codec
from jndcodec.container.jlc import Section, parse
from jndcodec.entropy.scale_network import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    IntegerConv,
    ScaleNetwork,
)
from jndcodec.errors import ModelError, SymbolError
from jndcodec.installed import find_by_name
from jndcodec.model.device import choose_dtype
from jndcodec.model.integer_twin import quantise_network
from jndcodec.model.native import NativeModel
from jndcodec.model.vbr import JlcVbr


@pytest.fixture(scope="module")
def codec(tiny_weights: Path) -> Codec:
    return Codec(weights=tiny_weights, device="cpu", engine="torch", precision="fp32")


@pytest.fixture(scope="module")
def data(codec: Codec, photo) -> bytes:
    return codec.encode(Image.fromarray(photo(150, 210)), quality=70)


def indexes_in_int64(network: ScaleNetwork, z: np.ndarray, t: int) -> np.ndarray:
    """The scale network again, written in int64 from its definition, by other means."""
    x = torch.from_numpy(z).permute(2, 0, 1)[None].long() << ACTIVATION_BITS
    for layer in network.layers:
        weight, bias = (torch.from_numpy(part).long() for part in (layer.weight, layer.bias))
        kernel = weight.shape[2]
        columns = torch.nn.functional.unfold(x.double(), kernel, padding=kernel // 2).long()
        y = torch.einsum("ok,nkl->nol", weight.flatten(1), columns) + bias[:, None]
        y = (y + (1 << layer.shift - 1)) >> layer.shift
        y = y.clamp(0 if layer.relu else -ACTIVATION_LIMIT, ACTIVATION_LIMIT).reshape(1, -1, *x.shape[2:])
        x = torch.nn.functional.pixel_shuffle(y, 2) if layer.upsample else y
    anchors, position = torch.from_numpy(network.index_y).long(), t * (len(network.index_y) - 1)
    left = min(position // 65535, len(anchors) - 2)
    fraction = position - left * 65535
    base = (anchors[left] * (65535 - fraction) + anchors[left + 1] * fraction + 32767) // 65535
    return ((x[0] + base[:, None, None] + 128) >> 8).clamp(0, 63).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("t", [0, 1, 12345, 40000, 65535])
def test_float64_equals_int64(codec: Codec, t: int) -> None:
    network = codec.model.scale_network
    z = np.round(np.random.default_rng(t).normal(0, 20, (7, 5, codec.info.config["cz"]))).astype(np.int16)
    expected = indexes_in_int64(network, z, t)
    assert len(np.unique(expected)) > 5
    np.testing.assert_array_equal(network.indexes_y(z, t), expected)


def test_extreme_z_stays_exact(codec: Codec) -> None:
    z = np.full((4, 4, codec.info.config["cz"]), 32767, np.int16)
    z[..., ::2] *= -1
    clipped = z.clip(-(ACTIVATION_LIMIT // 256), ACTIVATION_LIMIT // 256)
    assert codec.model.scale_network.indexes_y(z, 9).shape == (
        16,
        16,
        codec.info.config["m"] + codec.info.config["detail"],
    )
    np.testing.assert_array_equal(
        codec.model.scale_network.indexes_y(clipped, 9), indexes_in_int64(codec.model.scale_network, clipped, 9)
    )


def test_bound_is_proved_when_the_network_is_made() -> None:
    model = JlcVbr()
    layers = quantise_network(model.scale_net)
    network = ScaleNetwork(layers, np.zeros((9, 256)), np.zeros((9, 96)))
    assert network.bound < 53
    worst = max((np.abs(layer.weight).sum((1, 2, 3)) * ACTIVATION_LIMIT).max() for layer in layers)
    assert 2.0**network.bound >= worst
    layers[0].weight[:] *= 2.0**25
    with pytest.raises(ModelError, match="not exact"):
        ScaleNetwork(layers, np.zeros((9, 256)), np.zeros((9, 96)))


def unpack(codec: Codec, data: bytes):
    jlc = parse(data)
    return codec.model.unpack(jlc.sections[Section.Z], jlc.sections[Section.Y], jlc.t, (jlc.height, jlc.width))


def test_bf16_and_fp32_files_decode_in_each_other(tiny_weights: Path, codec: Codec, photo) -> None:
    bf16 = Codec(weights=tiny_weights, device="cpu", engine="torch", precision="bf16")
    image = Image.fromarray(photo(150, 210))
    for writer, reader in ((codec, bf16), (bf16, codec)):
        data = writer.encode(image, quality=70)
        assert unpack(writer, data).crc() == unpack(reader, data).crc() == parse(data).symbols_crc
        same = np.asarray(writer.decode(data), int) - np.asarray(reader.decode(data), int)
        assert np.abs(same).mean() < 1.0


@pytest.mark.parametrize("t", [0.2, 0.8])
def test_bf16_spares_the_main_path(photo, t: float) -> None:
    """What g_s makes of one y_hat in bf16 and in float32 differs by 0.006 of 255² at most, in squared error; with the
    main path in bf16 too by 0.13, and jlc-jnd took 7 % more bytes at equal SSIMULACRA2."""
    info = find_by_name("jlc-jnd")
    assert info is not None
    full, reduced = (NativeModel(info, "cpu", precision) for precision in ("fp32", "bf16"))
    rgb, knob = photo(160, 224, 5), round(t * 65535)
    y = torch.round(full.analyse(rgb, knob)[0])
    found = [torch.cat([c for *_, c in model.predictions(y, knob)]) for model in (full, reduced)]
    error = 255**2 * (found[0] - found[1]).square().sum() / rgb.size
    assert 0 < error < 0.02


def test_bf16_is_chosen_for_processors_that_have_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for there, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda there=there: there)
        assert choose_dtype("auto", torch.device("cpu")) == dtype
    assert choose_dtype("auto", torch.device("cuda")) == torch.float32
    assert choose_dtype("bf16", torch.device("cuda")) == torch.bfloat16


def test_a_torch_that_cannot_tell_means_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32


def test_threads_and_onednn_do_not_change_symbols(codec: Codec, data: bytes) -> None:
    expected = np.asarray(codec.decode(data), int)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            for onednn in (True, False):
                torch.set_num_threads(count)
                with torch.backends.mkldnn.flags(enabled=onednn):
                    assert unpack(codec, data).crc() == parse(data).symbols_crc
                    assert np.abs(np.asarray(codec.decode(data), int) - expected).max() <= 1
    finally:
        torch.set_num_threads(threads)


def test_encoder_and_decoder_agree_on_the_picture(codec: Codec, photo) -> None:
    rgb = photo(130, 70, 3)
    coded = codec.model.compress(rgb, 40000, 0.0)
    decoded = codec.model.decompress(coded.z, coded.y, coded.symbols_crc, 40000, (130, 70))
    np.testing.assert_array_equal(coded.reconstruct(), decoded)


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_a_perturbed_scale_network_is_caught(tiny_weights: Path, data: bytes, layer: int) -> None:
    other = Codec(weights=tiny_weights, device="cpu", engine="torch", precision="fp32")
    perturbed = other.model.scale_network.layers[layer]
    perturbed.bias[:] += 2.0 ** (perturbed.shift + ACTIVATION_BITS)  # by 1.0
    with pytest.raises(SymbolError, match="probability tables"):
        other.decode(data)


def test_rounding_of_halves_and_negatives_in_the_interpolated_table() -> None:
    anchors = np.array([[-3.0, 5.0], [-4.0, 6.0]])
    layer = IntegerConv(np.ones((2, 1, 1, 1)), np.zeros(2), 0, upsample=False, relu=False)
    network = ScaleNetwork([layer], anchors * 256, anchors * 256)
    assert network.indexes_z(0).tolist() == [0, 5]
    assert network.indexes_z(65535).tolist() == [0, 6]
    assert network.indexes_z(32000).tolist() == [0, 5] and network.indexes_z(33000).tolist() == [0, 6]
