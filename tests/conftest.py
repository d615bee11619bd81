"""Fixtures that every test shares: pictures made on the spot, and a tiny model with random weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from web_page import Page

    from jndcodec.codec import Codec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads wait for each other on a busy machine

os.environ.pop("JNDCODEC_WEIGHTS", None)


@pytest.fixture(autouse=True, scope="session")
def no_models_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the person who runs the tests has installed changes none of them."""
    from jndcodec import installed

    installed.user_folder = lambda: tmp_path_factory.getbasetemp() / "no models"


def make_photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 (height, width, 3) with the 1/f spectrum of photographs, a few edges, and correlated channels."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1 / max(height, width, 2)
    planes = []
    for _ in range(3):
        spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / frequency
        plane = np.fft.irfft2(spectrum, s=(height, width))
        planes.append((plane - plane.mean()) / (plane.std() + 1e-9))
    grey, a, b = planes
    rows, columns = np.mgrid[0:height, 0:width]
    for _ in range(3):
        y, x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.1, 0.3) * min(height, width)
        grey = grey + rng.uniform(-1, 1) * (np.hypot(rows - y, columns - x) < radius)
    rgb = np.stack([grey + 0.3 * a, grey, grey + 0.3 * b], -1)
    return np.clip(128 + 45 * rgb, 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="session")
def photo() -> Callable[..., np.ndarray]:
    return make_photo


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of a model so small that coding takes milliseconds; started by the KLT, so it looks right."""
    import torch

    from jndcodec.model.export import export_weights
    from jndcodec.model.klt import init_klt
    from jndcodec.model.vbr import JlcVbr, VbrConfig

    torch.manual_seed(0)
    model = JlcVbr(
        VbrConfig(c16=64, m=64, linear=16, detail=128, ce=4, cz=8, d=16, ds=8, h8=8, h16=8, s8=1, s16=1)
    ).eval()
    tiles = np.stack([make_photo(128, 128, seed) for seed in range(4)])
    init_klt(model, torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255)
    points = [{"t": t, "bpp": 0.1 + 3 * t, "psnr": 25 + 13 * t, "ssimulacra2": 20 + 70 * t} for t in (0.0, 1.0)]
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    calibration = {"t_1jnd": 0.6, "points": points}
    export_weights(model, path, name="tiny", loss="none", calibration=calibration, record={})
    return path


@pytest.fixture(scope="session")
def golden_codec() -> Codec:
    """The codec of the golden files, as exact as it gets."""
    from jndcodec.codec import Codec

    return Codec(weights=Path(__file__).parent / "golden" / "golden.safetensors", device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    from web_page import open_page

    with open_page(tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(web: Page) -> Iterator[Page]:
    """The page in a browser, watched."""
    with web.watched():
        yield web
