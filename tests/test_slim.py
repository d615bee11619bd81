"""Slim blocks: added to a trained model, which keeps what it does, and coded in windows like the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from jndcodec.errors import InputError
from jndcodec.model import transforms
from jndcodec.model.export import export_weights
from jndcodec.model.layers import Residual, Slim
from jndcodec.model.native import NativeModel
from jndcodec.model.vbr import JlcVbr, VbrConfig
from jndcodec.model.widen import add_slim

SMALL = {"c16": 16, "m": 16, "cz": 8, "d": 16, "ds": 8, "n8": 2, "n16": 1}


@pytest.fixture(scope="module")
def plain() -> JlcVbr:
    """Random weights, so that every path is alive."""
    torch.manual_seed(6)
    return JlcVbr(VbrConfig(**SMALL)).eval()


@torch.no_grad()
@pytest.mark.parametrize("widths", [(8, 4), (8, 0), (0, 4)])
def test_a_model_with_new_slim_blocks_does_what_it_did(plain: JlcVbr, widths: tuple[int, int]) -> None:
    deep = add_slim(plain, *widths).eval()
    assert (deep.config.h8, deep.config.h16) == widths
    x, t = torch.rand(2, 3, 128, 128), torch.tensor([0.2, 0.9])
    before, after = plain(x, t, hard=True), deep(x, t, hard=True)
    for a, b in zip(after, before, strict=True):
        torch.testing.assert_close(a, b)


def test_new_slim_blocks_can_learn(plain: JlcVbr) -> None:
    deep = add_slim(plain, 8, 4)
    out = deep(torch.rand(1, 3, 64, 64), torch.tensor([0.5]))
    out.x_hat.square().mean().backward()
    leaves = [module.leave.weight.grad for module in deep.modules() if isinstance(module, Slim)]
    assert len(leaves) == 6 and all(grad is not None and grad.abs().max() > 0 for grad in leaves)


def test_slim_blocks_are_added_once(plain: JlcVbr) -> None:
    with pytest.raises(InputError, match="already"):
        add_slim(add_slim(plain, 8, 0), 8, 4)


def more_slim(_: JlcVbr) -> JlcVbr:
    """Slim blocks beside and after the residual ones, at both resolutions."""
    torch.manual_seed(7)
    return JlcVbr(VbrConfig(**SMALL | {"n8": 1, "h8": 8, "h16": 4, "s8": 2, "s16": 3})).eval()


def test_further_slim_blocks_stand_at_the_end(plain: JlcVbr) -> None:
    deep = more_slim(plain)
    for stack, kinds in ((deep.g_a_8, (Residual, Slim, Slim, Slim)), (deep.g_s_16[1], (Residual, *4 * (Slim,)))):
        assert tuple(type(block) for block in stack) == kinds


@pytest.mark.parametrize("build", [lambda plain: add_slim(plain, 8, 4), more_slim])
def test_windows_see_as_far_as_slim_blocks_do(
    plain: JlcVbr,
    build: Callable[[JlcVbr], JlcVbr],
    photo: Callable[..., np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deep = build(plain)
    with torch.no_grad():
        for module in deep.modules():
            if isinstance(module, Slim):
                module.leave.weight.normal_()  # alive, and strong enough to be seen
    info = export_weights(
        deep.eval(), tmp_path / "deep.safetensors", name="deep", loss="rd, mse", calibration={}, record={}
    )
    model = NativeModel(info, "cpu", "fp32")
    rgb = photo(320, 448, 3)
    whole = model.analyse(rgb, 40000)
    decoded = model.synthesise(whole, 40000, rgb.shape[:2])
    monkeypatch.setattr(transforms, "WINDOW", 4)
    torch.testing.assert_close(model.analyse(rgb, 40000), whole, rtol=1e-4, atol=1e-4)
    again = model.synthesise(whole, 40000, rgb.shape[:2])
    assert np.abs(again.astype(int) - decoded).max() <= 1
