"""Detail channels: started from the KLT or added to a trained model, which keeps what it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jndcodec import Codec
from jndcodec.errors import InputError
from jndcodec.model.export import export_weights
from jndcodec.model.klt import channel_order, init_klt
from jndcodec.model.layers import join_quarters, split_quarters
from jndcodec.model.vbr import JlcVbr, VbrConfig
from jndcodec.model.widen import add_detail

SMALL = {"cz": 8, "d": 16, "ds": 8, "n8": 1}


@pytest.fixture(scope="module")
def tiles(photo: Callable[..., np.ndarray]) -> torch.Tensor:
    pictures = np.stack([photo(128, 128, seed) for seed in range(30)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def narrow() -> JlcVbr:
    """Random weights, so that every path is alive."""
    torch.manual_seed(4)
    return JlcVbr(VbrConfig(c16=16, m=16, **SMALL)).eval()


def test_quarters_join_and_split() -> None:
    y, detail = torch.arange(8.0)[None, :, None, None], torch.arange(100.0, 104)[None, :, None, None]
    joined = join_quarters(y, detail)
    assert joined.flatten().tolist() == [0, 1, 100, 2, 3, 101, 4, 5, 102, 6, 7, 103]
    assert [part.flatten().tolist() for part in split_quarters(joined, 4)] == [
        y.flatten().tolist(),
        detail.flatten().tolist(),
    ]
    assert joined.flatten()[channel_order(12, 4)].tolist() == [*y.flatten().tolist(), *detail.flatten().tolist()]


@torch.no_grad()
def test_the_rest_of_a_widened_model_does_what_it_did(narrow: JlcVbr, tiles: torch.Tensor) -> None:
    x, t = tiles[:3], torch.tensor([0.0, 0.4, 1.0])
    before = narrow(x, t, hard=True)
    wide = add_detail(narrow, 8, tiles).eval()
    assert wide.config.m == 24 and wide.config.detail == 8
    kept = channel_order(24, 8)[:16]
    torch.testing.assert_close(wide.analyse(x, t)[:, kept], narrow.analyse(x, t))
    wide.g_s_detail[0].weight.zero_()
    after = wide(x, t, hard=True)
    torch.testing.assert_close(after.x_hat, before.x_hat, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after.bits_z, before.bits_z)
    assert (after.bits_y > before.bits_y).all()


@torch.no_grad()
def test_added_detail_carries_what_was_missing(tiles: torch.Tensor) -> None:
    model = JlcVbr(VbrConfig(c16=64, m=64, **SMALL)).eval()
    init_klt(model, tiles)
    wide = add_detail(model, 64, tiles[:24]).eval()
    t, x = torch.ones(6), tiles[24:]  # not those it was made from
    errors = [(m.synthesise(m.analyse(x, t), t) - x).square().mean().item() for m in (model, wide)]
    assert errors[1] < 0.7 * errors[0]


@torch.no_grad()
def test_the_klt_start_with_detail_is_that_of_as_many_channels(tiles: torch.Tensor) -> None:
    plain = JlcVbr(VbrConfig(c16=96, m=96, **SMALL)).eval()
    detailed = JlcVbr(VbrConfig(c16=64, m=96, detail=32, **SMALL)).eval()
    shares, pictures = [], []
    for model in (plain, detailed):
        torch.manual_seed(5)
        shares.append(init_klt(model, tiles))
        t = torch.full((2,), 0.7)
        pictures.append(model.synthesise(model.analyse(tiles[:2], t), t))
    assert shares[0] == pytest.approx(shares[1])
    torch.testing.assert_close(*pictures, rtol=0, atol=1e-4)


def test_a_model_with_detail_codes_pictures(
    tiles: torch.Tensor, photo: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    rgb, errors = photo(100, 170, 3), []
    for detail in (0, 32):
        model = JlcVbr(VbrConfig(c16=64, m=64 + detail, detail=detail, **SMALL)).eval()
        init_klt(model, tiles)
        path = tmp_path / f"{detail}.safetensors"
        export_weights(model, path, name="detail", loss="none", calibration={"t_1jnd": 0.6}, record={})
        codec = Codec(weights=path, precision="fp32")
        assert codec.info.config["detail"] == detail
        decoded = np.asarray(codec.decode(codec.encode(Image.fromarray(rgb), quality=100)))
        errors.append(np.square(decoded.astype(float) - rgb).mean())
    assert errors[1] < 0.85 * errors[0]


@pytest.mark.parametrize(("detail", "says"), [(6, "multiple of 4"), (0, "multiple of 4")])
def test_what_cannot_be_added_is_refused(narrow: JlcVbr, tiles: torch.Tensor, detail: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        add_detail(narrow, detail, tiles)


def test_detail_is_added_once(narrow: JlcVbr, tiles: torch.Tensor) -> None:
    with pytest.raises(InputError, match="already"):
        add_detail(add_detail(narrow, 4, tiles), 4, tiles)
