"""Transparency by PNG's tRNS chunk, exact for every colour type and bit depth; and colours that nobody sees."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run
from PIL import Image
from png_tools import png

import jndcodec
from jndcodec.images.hidden import fill_hidden
from jndcodec.images.loading import load_picture


def near(key: np.ndarray, h: int, w: int, depth: int, seed: int) -> np.ndarray:
    """Samples of noise, some equal to `key` in every channel, some in all but one, some in one byte of two."""
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, 1 << depth, (h, w, len(key)))
    samples[rng.random((h, w)) < 0.4] = key
    samples[rng.random((h, w)) < 0.3, -1] ^= 1
    if depth == 16:
        samples[rng.random((h, w)) < 0.2, 0] ^= 0x100
    return samples


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour, depth", [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)])
def test_one_transparent_colour(colour: int, depth: int, interlaced: bool) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        key = rng.integers(0, 1 << depth, 3 if colour == 2 else 1)
        samples = near(key, 9, 14, depth, seed)
        spare = 0x5A00 << depth & 0xFFFF if depth < 16 else 0  # bits beyond the depth say nothing (PNG, 11.3.2.1)
        data = png(samples, depth, colour, [(b"tRNS", (key | spare).astype(">u2").tobytes())], interlaced)
        expected = np.where((samples == key).all(axis=2), 0, 255)
        for picture in (load_picture(data), load_picture(Image.open(io.BytesIO(data)))):
            assert np.array_equal(picture.alpha, expected) and picture.grey == (colour == 0)
            assert np.abs(picture.rgb[..., 0] - samples[..., 0] / ((1 << depth) - 1) * 255).max() <= 1


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_alpha_of_palettes(depth: int) -> None:
    """Fewer entries than colours, only 0 and 255, and a last byte of 10, which ends a line for a regular expression."""
    rng = np.random.default_rng(depth)
    palette = rng.integers(0, 256, (1 << depth, 3))
    samples = rng.integers(0, 1 << depth, (11, 13, 1))
    random = rng.integers(0, 256, 1 << depth).astype("u1").tobytes()
    for alphas in (b"\0", b"\xff\0", b"\xff\x0a", b"\0\0", b"\0\x0a", random, b"\xff\xff"):
        data = png(samples, depth, 3, [(b"PLTE", palette.astype("u1").tobytes()), (b"tRNS", alphas)])
        table = np.frombuffer(alphas.ljust(1 << depth, b"\xff"), np.uint8)
        picture = load_picture(data)
        assert np.array_equal(picture.alpha, table[samples[..., 0]])
        assert np.array_equal(picture.rgb, palette[samples[..., 0]])


def test_a_key_that_is_cut_short_or_senseless_is_no_key() -> None:
    samples = np.zeros((2, 2, 4), int)
    assert load_picture(png(samples, 8, 6, [(b"tRNS", bytes(6))])).alpha.max() == 0  # its own channel, all transparent
    opened = Image.open(io.BytesIO(png(samples[..., :1], 8, 0, [(b"tRNS", struct.pack(">H", 7))])))
    opened.load()  # loaded before we see it: what Pillow says is all there is
    assert load_picture(opened).alpha.min() == 255


# --- colours under alpha 0 ---


def test_visible_pixels_stay_and_hidden_ones_are_smooth() -> None:
    y, x = np.mgrid[:70, :101]
    smooth = np.stack([x * 2, y * 3, 255 - x - y], 2).astype(np.uint8)
    alpha = np.where((y - 30) ** 2 + (x - 50) ** 2 < 400, 255, 0).astype(np.uint8)
    alpha[30:33, 48:52] = 0  # a hole inside
    noise = np.random.default_rng(0).integers(0, 256, smooth.shape, dtype=np.uint8)
    mixed = np.where(alpha[..., None] > 0, smooth, noise)
    filled = fill_hidden(mixed, alpha)
    assert np.array_equal(filled[alpha > 0], smooth[alpha > 0])
    assert np.array_equal(
        filled, fill_hidden(np.where(alpha[..., None] > 0, smooth, 9), alpha)
    )  # nothing shines through
    assert np.abs(filled[30:33, 48:52].astype(int) - smooth[30:33, 48:52]).max() <= 4
    for axis in (0, 1):
        assert np.abs(np.diff(filled.astype(int), axis=axis)).max() <= 24


@pytest.mark.parametrize("h, w", [(1, 1), (1, 7), (5, 1), (3, 2), (2050, 3), (17, 64)])
def test_every_size_is_filled(h: int, w: int) -> None:
    rng = np.random.default_rng(h)
    rgb = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    alpha = np.where(rng.random((h, w)) < 0.3, 255, 0).astype(np.uint8)
    filled = fill_hidden(rgb, alpha)
    seen = rgb[alpha > 0]
    if len(seen):
        assert np.array_equal(filled[alpha > 0], seen)
        assert (filled >= seen.min(axis=0)).all() and (filled <= seen.max(axis=0)).all()
    else:
        assert not filled.any()


def test_hidden_noise_costs_nothing_unless_it_is_asked_for(tmp_path: Path, photo, tiny_weights: Path) -> None:
    rgb = photo(96, 128)
    alpha = np.zeros((96, 128), np.uint8)
    alpha[30:60, 40:90] = 255
    noise = np.random.default_rng(0).integers(0, 256, rgb.shape, dtype=np.uint8)
    files = {}
    for name, hidden, options in (("noise", noise, []), ("own", rgb, []), ("kept", rgb, ["--keep-hidden"])):
        picture = np.dstack([np.where(alpha[..., None] > 0, rgb, hidden), alpha])
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        output = tmp_path / f"{name}.jlc"
        command = ("encode", tmp_path / f"{name}.png", "-o", output, "-q", "100", "--weights", tiny_weights)
        assert run(*command, *options).exit_code == 0
        files[name] = output.read_bytes()
    assert files["noise"] == files["own"] and len(files["kept"]) > len(files["own"]) + 200
    errors = {}
    for name in ("own", "kept"):
        decoded = np.asarray(jndcodec.decode(files[name], weights=tiny_weights))
        assert np.array_equal(decoded[..., 3], alpha)
        errors[name] = np.abs(decoded[..., :3].astype(int) - rgb)[alpha == 0].mean()
    assert errors["kept"] < errors["own"] / 2
