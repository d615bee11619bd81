"""The section LOSSLESS: exact pixels, what is inside it, and every kind of damage."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from jndcodec.container.lossless import pack_lossless, unpack_lossless
from jndcodec.errors import FormatError

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
    monkeypatch.setattr("jndcodec.container.lossless._open", lambda payload: pytest.fail("opened"))
    with pytest.raises(FormatError):
        unpack_lossless(payload, (9, 8))


def test_a_png_of_another_kind_is_refused() -> None:
    stream = io.BytesIO()
    Image.new("P", (3, 3)).save(stream, "PNG")
    with pytest.raises(FormatError):
        unpack_lossless(stream.getvalue(), (3, 3))
