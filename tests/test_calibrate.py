"""The default rate: one JND over the calibration pictures, and no more than a quarter of them far over it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jndcodec.codec import Codec
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.errors import DataError
from jndcodec.metrics.ssimulacra2 import score
from jndcodec.rate.jnd import jnd_from_ssimulacra2
from jndcodec.train import calibrate as calibration
from jndcodec.train.calibrate import calibrate, estimate, margin
from jndcodec.weights import load_tensors, read_info


@pytest.mark.parametrize(
    "jnd, holds",
    [
        ((1.0, 1.0, 1.0, 1.0), True),
        ((1.0, 1.0, 1.0, 1.01), False),  # the mean
        ((0.6, 0.7, 0.8, 1.9), True),  # a quarter is over 1.1
        ((0.5, 0.6, 1.2, 1.2), False),  # a half is
        ((1.1, 1.1, 0.8, 0.9), True),
    ],
)
def test_what_is_asked(jnd: tuple[float, ...], holds: bool) -> None:
    assert (margin(np.array(jnd)) >= 0) == holds


def test_the_estimate_is_where_the_mean_reaches_it_or_an_end() -> None:
    points = [{"t": t, "ssimulacra2": 60 + 30 * t} for t in (0.0, 0.5, 1.0)]
    assert estimate(points) == pytest.approx((80.2 - 60) / 30, abs=1e-4)
    assert estimate([point | {"ssimulacra2": 50 + point["t"]} for point in points]) == 1.0
    assert estimate([point | {"ssimulacra2": 90 + point["t"]} for point in points]) == 0.0


def measured(weights: Path, pictures: list[np.ndarray]) -> np.ndarray:
    """The JND of pictures coded without any target."""
    import torch

    codec, found = Codec(weights=weights), []
    for rgb in pictures:
        decoded = np.asarray(codec.decode(codec.encode(Image.fromarray(rgb), lossless=False)))
        a, b = (torch.tensor(each).permute(2, 0, 1)[None].float() / 255 for each in (rgb, decoded))
        found.append(jnd_from_ssimulacra2(score(a, b).item()))
    return np.array(found)


@pytest.fixture(scope="module")
def pictures(photo) -> list[np.ndarray]:
    """Of different strengths around grey."""
    return [(128 + (photo(192, 192, seed).astype(float) - 128) * gain).astype(np.uint8)
            for seed, gain in enumerate((0.5, 0.7, 0.9, 1.1))]  # fmt: skip


def test_the_default_is_as_near_as_asked(
    tiny_weights: Path, tmp_path: Path, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MEAN", 5.0)  # what so small a model reaches
    monkeypatch.setattr(calibration, "OVER", 4.5)
    path = Path(shutil.copy(tiny_weights, tmp_path / "a.safetensors"))
    before = read_info(path)
    info = calibrate(path, pictures)
    jnd = measured(path, pictures)
    assert 0 < info.t_1jnd < 1 and 0 <= margin(jnd) <= 0.1
    assert info.calibration["jnd"]["mean"] == pytest.approx(jnd.mean(), abs=1e-3)
    assert info.calibration["jnd"]["over"] == np.mean(jnd > 4.5)
    assert info.id == before.id and info.calibration["points"] == before.calibration["points"]
    assert all(np.array_equal(a, load_tensors(before)[key]) for key, a in load_tensors(info).items())
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_model_that_does_not_reach_it_gets_its_largest_knob(tiny_weights: Path, tmp_path: Path, photo) -> None:
    path = Path(shutil.copy(tiny_weights, tmp_path / "a.safetensors"))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert round(calibrate(path, [noise]).t_1jnd * T_MAX) == T_MAX
    with pytest.raises(DataError, match="pictures"):
        calibrate(path, [])
