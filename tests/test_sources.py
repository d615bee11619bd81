"""Everything that `encode` and `decode` take, and threads and forks around a warm model."""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jndcodec
from jndcodec.errors import InputError, TargetError
from jndcodec.evaluate.comparison import as_text, compare
from jndcodec.evaluate.metrics import choose

Photo = Callable[..., np.ndarray]


class PathLike:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def test_what_a_picture_may_be(photo: Photo, tmp_path: Path) -> None:
    rgb = photo(20, 30)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    sources = [rgb, np.asfortranarray(rgb), Image.fromarray(rgb), data, bytearray(data), memoryview(data)]
    sources += [tmp_path / "a.png", str(tmp_path / "a.png"), PathLike(tmp_path / "a.png"), io.BytesIO(data)]
    assert len({jndcodec.encode(source, lossless=True) for source in sources}) == 1
    with open(tmp_path / "a.png", "rb") as stream:
        assert jndcodec.encode(stream, lossless=True) == jndcodec.encode(rgb, lossless=True)


@pytest.mark.parametrize(("shape", "mode"), [((6, 5), "L"), ((6, 5, 3), "RGB"), ((6, 5, 4), "RGBA")])
def test_arrays(shape: tuple[int, ...], mode: str) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, shape, np.uint8)
    decoded = jndcodec.decode(jndcodec.encode(pixels, lossless=True))
    assert decoded.mode == mode
    np.testing.assert_array_equal(np.asarray(decoded), pixels)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.uint16), np.zeros(4, np.uint8)]
    + [np.zeros((0, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.uint8), 17, None],
)
def test_what_is_no_picture(pixels: object) -> None:
    with pytest.raises(InputError):
        jndcodec.encode(pixels, lossless=True)


def test_what_a_file_may_be(photo: Photo, tmp_path: Path) -> None:
    data = jndcodec.encode(photo(20, 30), lossless=True)
    path = tmp_path / "a.jlc"
    path.write_bytes(data)
    with open(path, "rb") as stream:
        for source in (
            data,
            bytearray(data),
            memoryview(data),
            path,
            str(path),
            PathLike(path),
            io.BytesIO(data),
            stream,
        ):
            np.testing.assert_array_equal(np.asarray(jndcodec.decode(source)), photo(20, 30))
    for source in (tmp_path / "none.jlc", tmp_path, 17, None):
        with pytest.raises(InputError):
            jndcodec.decode(source)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads(threads: int, tiny_weights: Path) -> None:
    with pytest.raises(InputError, match="threads"):
        jndcodec.encode(Image.new("RGB", (8, 8)), threads=threads, weights=tiny_weights)


@pytest.mark.parametrize("goal", [{"bpp": float("nan")}, {"bpp": float("inf")}, {"size": 0}, {"quality": float("nan")}])
def test_goals_that_are_no_numbers(goal: dict[str, float], tiny_weights: Path) -> None:
    with pytest.raises(TargetError):
        jndcodec.encode(Image.new("RGB", (8, 8)), weights=tiny_weights, **goal)


def _encode(weights: Path) -> bytes:
    return jndcodec.encode(np.full((64, 64, 3), 77, np.uint8), weights=weights, threads=2, lossless=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_of_a_process_with_a_warm_model_works(tiny_weights: Path) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        here = _encode(tiny_weights)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply_async(_encode, (tiny_weights,)).get(timeout=60) == here
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 9)])
def test_metrics_of_tiny_pictures_say_what_they_cannot(size: tuple[int, int], photo: Photo) -> None:
    rgb = photo(*size)
    for decoded in (rgb, rgb ^ 3):
        shown = as_text(compare(rgb, decoded, "a", 10, True, choose(None)[0]))
        assert "too small for it" in shown and "below 32 pixels" in shown
