"""The steps of detail, tuned at export: what it costs and misses, counted as the coder will."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from jndcodec.effort.counting import code
from jndcodec.effort.objective import Objective
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.entropy.tables import LOG_STEP
from jndcodec.model.build import load_model
from jndcodec.model.export import export_weights
from jndcodec.model.native import NativeModel
from jndcodec.model.vbr import JlcVbr
from jndcodec.train.detail_steps import _anchor, _costs, _smooth, tune_detail

ABOUT = {"name": "tuned", "loss": "rd, mse", "calibration": {"t_1jnd": 0.5}, "record": {}}
KNOB = round(0.75 * T_MAX)


@pytest.fixture(scope="module")
def pictures(photo: Callable[..., np.ndarray]) -> list[np.ndarray]:
    return [photo(128, 128, seed) for seed in (11, 12)]


@pytest.fixture(scope="module")
def spoiled(tiny_weights: Path) -> JlcVbr:
    """Steps of detail a half of what they should be."""
    model = load_model(tiny_weights)
    m = model.config.m
    with torch.no_grad():
        for gain in (model.gain_y, model.scale_y):
            gain.log_gain[:, m:] += 6 * LOG_STEP
    return model


def coder_of(model: JlcVbr, path: Path) -> NativeModel:
    return NativeModel(export_weights(model, path, **ABOUT), "cpu", "fp32")


def cost(coder: NativeModel, pictures: list[np.ndarray], knob: int) -> np.ndarray:
    """R + λ D of files and R, in bits per pixel."""
    objective, total = Objective(coder.info, knob), np.zeros(2)
    for rgb in pictures:
        made = coder.compress(rgb, knob)
        size = len(made.y) + len(made.z)
        total += objective.judge(size, made.reconstruct(), rgb), 8 * size / (rgb.shape[0] * rgb.shape[1])
    return total / len(pictures)


def test_tuned_steps_are_better_in_files(spoiled: JlcVbr, pictures: list[np.ndarray], tmp_path: Path) -> None:
    before = coder_of(spoiled, tmp_path / "before.safetensors")
    model = load_model(tmp_path / "before.safetensors")
    lines: list[str] = []
    tune_detail(before, model, pictures, lines.append)
    assert len(lines) == len(model.gain_y.log_gain)
    after = coder_of(model, tmp_path / "after.safetensors")
    for t in (0.5, 0.75, 0.875):
        knob = round(t * T_MAX)
        (old, rate), (new, _) = cost(before, pictures, knob), cost(after, pictures, knob)
        assert old - new > 0.05 * rate
    m = model.config.m
    changed = {name for name, p in model.state_dict().items() if not torch.equal(p, spoiled.state_dict()[name])}
    assert {"gain_y.log_gain", "scale_y.log_gain"} <= changed  # kernels went through float16 and integers
    for gain, old in ((model.gain_y, spoiled.gain_y), (model.scale_y, spoiled.scale_y)):
        assert torch.equal(gain.log_gain[:, :m], old.log_gain[:, :m])
        whole = (gain.log_gain - old.log_gain)[:, m:] / LOG_STEP
        torch.testing.assert_close(whole, whole.round(), atol=1e-3, rtol=0)


def test_counted_as_files_have_it(spoiled: JlcVbr, pictures: list[np.ndarray], tmp_path: Path) -> None:
    """Without a change of steps the cost is what the coder's symbols cost, and the squared error of its pictures."""
    coder = coder_of(spoiled, tmp_path / "w.safetensors")
    rgb = pictures[0]
    anchor = _anchor(coder, [rgb], KNOB)
    coded = code(coder, rgb, KNOB)
    bits = coder.tables.bits(coded.symbols.y[..., coder.m :], coded.symbols.index_y[..., coder.m :]).sum()
    anchor.price[:] = 0
    counted = _costs(coder, anchor, [(0, 0)]).sum()
    assert bits > 100 and counted == pytest.approx(bits, rel=0.02)  # an encoder leaves out channels hardly used
    assert anchor.bits == pytest.approx(coded.symbols.bits(coder.tables))


def test_squared_error_is_weighed_as_itself(spoiled: JlcVbr, pictures: list[np.ndarray], tmp_path: Path) -> None:
    coder = coder_of(spoiled, tmp_path / "w.safetensors")
    anchor = _anchor(coder, pictures, KNOB)
    back = coder.gains(KNOB).detail_back[0, :, 0, 0].numpy()
    assert np.allclose(anchor.price, Objective(coder.info, KNOB).lmbda * 255**2 / 3 * back**2, rtol=1e-3)


def test_the_way_over_anchors_is_smooth_unless_it_pays() -> None:
    costs = np.zeros((3, 5, 2))
    costs[0, :, 0] = [9, 9, 0, 9, 9]
    costs[1, :, 0] = 1e-9 * np.arange(5)  # as good as alike: it stays
    costs[2, :, 0] = [9, 9, 9, 9, 0]
    costs[:, :, 1] = [[0, 1, 2, 3, 4]] * 2 + [[4, 3, 2, 1, 0]]
    way = _smooth(costs, np.full(3, 100.0))
    assert way[0, 0] == 2 and way[2, 0] == 4 and 2 <= way[1, 0] <= 4
    assert way[:, 1].tolist() == [0, 0, 4]
