"""The models as modules after CompressAI's conventions, in CompressAI's own evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jndcodec.codec import Codec
from jndcodec.container.jlc import Section, parse
from jndcodec.errors import FormatError, InputError, SymbolError
from jndcodec.torch_codec import CHECKSUM, TorchCodec


@pytest.fixture(scope="module")
def net(tiny_weights: Path) -> TorchCodec:
    return TorchCodec(weights=tiny_weights, quality=70, device="cpu").eval()


@pytest.fixture(scope="module")
def x(photo) -> torch.Tensor:
    pictures = np.stack([photo(70, 100, seed) for seed in range(2)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def test_strings_are_the_streams_of_a_file(net: TorchCodec, x: torch.Tensor, tiny_weights: Path) -> None:
    out = net.compress(x)
    assert tuple(out["shape"]) == (70, 100) and [len(strings) for strings in out["strings"]] == [2, 2]
    codec = Codec(weights=tiny_weights, device="cpu", engine="torch")
    image = Image.fromarray((x[1] * 255).round().byte().permute(1, 2, 0).numpy())
    data = codec.encode(image, quality=70, lossless=False)
    sections = parse(data).sections
    assert out["strings"][0][1] == sections[Section.Y] and out["strings"][1][1][:-CHECKSUM] == sections[Section.Z]
    x_hat = net.decompress(**out)["x_hat"]
    assert x_hat.shape == x.shape
    np.testing.assert_array_equal((x_hat[1] * 255).byte().permute(1, 2, 0).numpy(), np.asarray(codec.decode(data)))


def test_likelihoods_are_what_the_strings_cost(net: TorchCodec, x: torch.Tensor) -> None:
    out, strings = net(x), net.compress(x)["strings"]
    bits = sum(-torch.log2(p.double()).sum().item() for p in out["likelihoods"].values())
    written = 8 * sum(len(string) for pair in strings for string in pair)
    assert 0 < written - bits < 8 * 2 * (CHECKSUM + 16)  # two pictures: checksums, lengths, the coder's states
    torch.testing.assert_close(out["x_hat"], net.decompress(strings, x.shape[2:])["x_hat"])
    assert all(0 < p.min() and p.max() <= 1 and len(p) == 2 for p in out["likelihoods"].values())


def test_the_rate_can_be_changed_and_damage_is_noticed(net: TorchCodec, x: torch.Tensor, tiny_weights: Path) -> None:
    assert TorchCodec(weights=tiny_weights, device="cpu").quality == pytest.approx(60)
    low = TorchCodec(weights=tiny_weights, quality=10, device="cpu")
    assert len(low.compress(x)["strings"][0][0]) < len(net.compress(x)["strings"][0][0])
    (y, z), shape = net.compress(x[:1])["strings"], x.shape[2:]
    with pytest.raises((SymbolError, FormatError)):
        net.decompress([y, [z[0][:-1] + bytes([z[0][-1] ^ 1])]], shape)
    with pytest.raises(InputError, match="N, 3, H, W"):
        net.compress(x[0])
    low.quality = 101
    with pytest.raises(InputError, match="between 0 and 100"):
        low.compress(x)


def test_it_is_a_module_with_the_networks_parameters(net: TorchCodec) -> None:
    assert isinstance(net, torch.nn.Module) and next(net.parameters()).device.type == "cpu"
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in net.float_model.parameters()) > 0


@pytest.mark.parametrize("estimation", [False, True])
def test_compressais_own_evaluation(net: TorchCodec, photo, tmp_path: Path, estimation: bool) -> None:
    pytest.importorskip("pytorch_msssim")
    evaluation = pytest.importorskip("compressai.utils.eval_model.__main__")
    for seed in range(2):
        Image.fromarray(photo(192, 200, seed)).save(tmp_path / f"{seed}.png")
    found = evaluation.eval_model(
        net, tmp_path / "out", tmp_path, sorted(tmp_path.glob("*.png")), estimation, "jndcodec", "test",
        architecture="jndcodec", half=False, per_image=False,
    )  # fmt: skip
    assert found["psnr-rgb"] > 20 and 0.7 < found["ms-ssim-rgb"] <= 1
    assert 0.1 < found["bpp"] < 10
