"""The section LOSSLESS: exact pixels, what is inside it, and every kind of damage."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run
from PIL import Image

import jndcodec
import jndcodec.pillow_plugin
from jndcodec.container.jlc import NO_MODEL, Flags, Jlc, Section
from jndcodec.container.lossless import pack_lossless, unpack_lossless
from jndcodec.errors import FormatError, LimitError
from jndcodec.evaluate.models import model_coder

Photo = Callable[..., np.ndarray]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (40, 33), (2, 16384), (16385, 1)])
def test_pixels_come_back_exactly(photo: Photo, height: int, width: int) -> None:
    rgb = photo(height, width)
    back, alpha = unpack_lossless(pack_lossless(rgb, None), (height, width))
    assert alpha is None
    np.testing.assert_array_equal(back, rgb)


@pytest.mark.parametrize("width", [60, 16400])
def test_alpha_and_hidden_colours(photo: Photo, width: int) -> None:
    rgb = photo(4, width)
    alpha = photo(4, width, 1)[..., 0].copy()
    alpha[:, ::3] = 0
    back, back_alpha = unpack_lossless(pack_lossless(rgb, alpha), rgb.shape[:2])
    np.testing.assert_array_equal(back_alpha, alpha)
    np.testing.assert_array_equal(back[alpha > 0], rgb[alpha > 0])
    kept, _ = unpack_lossless(pack_lossless(rgb, alpha, keep_hidden=True), rgb.shape[:2])
    np.testing.assert_array_equal(kept, rgb)


def test_an_opaque_alpha_channel_stays_one(photo: Photo) -> None:
    alpha = np.full((9, 9), 255, np.uint8)
    _, back = unpack_lossless(pack_lossless(photo(9, 9), alpha), (9, 9))
    np.testing.assert_array_equal(back, alpha)


def test_the_payload_is_a_webp_file_without_its_first_20_bytes(photo: Photo) -> None:
    stream = io.BytesIO()
    Image.fromarray(photo(31, 17)).save(stream, "WEBP", lossless=True, method=6, quality=75)
    assert stream.getvalue()[20:].rstrip(b"\0") == pack_lossless(photo(31, 17), None).rstrip(b"\0")


def test_damage_is_one_error_or_another_picture_of_the_same_size(photo: Photo) -> None:
    """A checksum guards the file; behind it, no byte may do more harm than this."""
    payload = pack_lossless(photo(24, 24), photo(24, 24, 1)[..., 0])
    for position in range(len(payload)):
        damaged = bytearray(payload)
        damaged[position] ^= 1 << position % 8
        try:
            assert unpack_lossless(bytes(damaged), (24, 24))[0].shape == (24, 24, 3)
        except FormatError:
            pass
    for length in (0, 1, 4, 5, 20, len(payload) // 2):
        with pytest.raises(FormatError):
            unpack_lossless(payload[:length], (24, 24))


@pytest.mark.parametrize("payload", [b"", b"\x89PNG\r\n\x1a\n", b"RIFF" + bytes(30), bytes(100)])
def test_other_bytes(payload: bytes) -> None:
    with pytest.raises(FormatError):
        unpack_lossless(payload, (1, 1))


def test_a_wrong_size_is_refused_before_it_is_decoded(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = pack_lossless(photo(8, 9), None)
    monkeypatch.setattr("jndcodec.container.lossless._as_file", lambda payload: pytest.fail("opened"))
    with pytest.raises(FormatError):
        unpack_lossless(payload, (9, 8))


def test_a_png_of_another_kind_is_refused() -> None:
    stream = io.BytesIO()
    Image.new("P", (3, 3)).save(stream, "PNG")
    with pytest.raises(FormatError):
        unpack_lossless(stream.getvalue(), (3, 3))


def as_file(rgb: np.ndarray, alpha: np.ndarray | None = None) -> bytes:
    height, width = rgb.shape[:2]
    return Jlc(NO_MODEL, width, height, 0, 0, Flags.LOSSLESS, {Section.LOSSLESS: pack_lossless(rgb, alpha)}).pack()


def test_neither_way_needs_torch(photo: Photo, tmp_path: Path) -> None:
    Image.fromarray(photo(20, 30)).save(tmp_path / "a.png")
    code = (
        "import sys, jndcodec.cli as cli\n"
        "for arguments in (['encode', 'a.png', '--lossless', '-o', 'a.jlc'], ['decode', 'a.jlc', '-o', 'b.png']):\n"
        "    cli.cli(arguments, standalone_mode=False)\n"
        "sys.exit(7 if {'torch', 'compressai'} & set(sys.modules) else None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), photo(20, 30))


def test_every_reader_knows_it(photo: Photo, tmp_path: Path, tiny_weights: Path) -> None:
    alpha = photo(20, 30, 1)[..., 0]
    data = as_file(photo(20, 30), alpha)
    expected = np.dstack([photo(20, 30), alpha])
    for image in (
        jndcodec.decode(data),
        jndcodec.Codec(weights=tiny_weights).decode(data),
        Image.open(io.BytesIO(data)),
    ):
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image)[alpha > 0], expected[alpha > 0])
    np.testing.assert_array_equal(model_coder(str(tiny_weights)).decode(as_file(photo(20, 30))), photo(20, 30))


def test_info_says_it(photo: Photo, tmp_path: Path) -> None:
    (tmp_path / "a.jlc").write_bytes(as_file(photo(20, 30), photo(20, 30)[..., 0]))
    facts = json.loads(run("info", tmp_path / "a.jlc", "--json").stdout)
    assert (facts["lossless"], facts["alpha"], facts["quality"], facts["model"]) == (True, True, None, None)
    assert facts["overhead"] <= 18
    text = run("info", tmp_path / "a.jlc").stdout
    assert "lossless: the very pixels" in text and "none needed" in text and "CRC" not in text


def test_the_pixel_limit_holds_without_padding(photo: Photo) -> None:
    data = as_file(photo(20, 30))
    assert jndcodec.decode(data, max_pixels=600).size == (30, 20)
    with pytest.raises(LimitError, match="30 x 20"):
        jndcodec.decode(data, max_pixels=599)


@pytest.mark.parametrize("lossless", [True, False])
def test_pillows_limit_does_not_count(
    lossless: bool, photo: Photo, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    rgba = np.dstack([photo(40, 40), photo(40, 40)[..., :1]])
    decoded = jndcodec.decode(jndcodec.encode(rgba, lossless=lossless, weights=tiny_weights), weights=tiny_weights)
    np.testing.assert_array_equal(np.asarray(decoded)[..., 3], rgba[..., 3])
