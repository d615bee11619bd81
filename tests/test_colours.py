"""Colours that a file names without an ICC profile: what they become is what their numbers say."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from png_tools import png

from jndcodec.images.exif import PREFIX
from jndcodec.images.icc import ADOBE_RGB, BT709_CURVE, SRGB, SRGB_CURVE, Curve, grey_profile, rgb_profile
from jndcodec.images.loading import Picture, load_picture

P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
SAMPLES = np.random.default_rng(0).integers(0, 256, (8, 8, 3))


def gama(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def chrm(values: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values))


def linear(samples: np.ndarray, curve: Curve) -> np.ndarray:
    """Samples 0 … 1 to linear light, by the definitions of the curves."""
    if len(curve) == 1:
        return samples ** curve[0]
    g, a, b, c, d = curve
    return np.where(samples >= d, (a * samples + b) ** g, c * samples)


def matrix(chromaticities: tuple[float, ...]) -> np.ndarray:
    """RGB to XYZ (SMPTE RP 177)."""
    white, *primaries = (
        np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(*[iter(chromaticities)] * 2, strict=True)
    )
    columns = np.stack(primaries, axis=1)
    return columns * np.linalg.solve(columns, white)


def to_srgb(rgb: np.ndarray, chromaticities: tuple[float, ...], curve: Curve) -> np.ndarray:
    """8-bit samples to 8-bit sRGB, white points being equal."""
    light = linear(rgb / 255, curve) @ matrix(chromaticities).T @ np.linalg.inv(matrix(SRGB)).T
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def through(picture: Picture) -> np.ndarray:
    """What a colour-managed viewer shows on an sRGB screen."""
    assert picture.icc is not None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
    image = Image.fromarray(picture.rgb[..., 0] if picture.grey else picture.rgb)
    target = ImageCms.createProfile("sRGB")
    exact = ImageCms.Flags.NOOPTIMIZE  # LittleCMS's short cuts are coarse in the dark
    return np.asarray(
        ImageCms.profileToProfile(image, profile, target, renderingIntent=1, outputMode="RGB", flags=exact)
    )


@pytest.mark.parametrize(
    "chunks, chromaticities, curve",
    [
        ([gama(1 / 2.2), chrm(ADOBE_RGB)], ADOBE_RGB, (2.2,)),
        ([gama(1.0)], SRGB, (1.0,)),
        ([gama(1 / 1.8), chrm(SRGB)], SRGB, (1.8,)),
        ([chrm(P3)], P3, SRGB_CURVE),
        ([(b"cICP", b"\x0c\x0d\0\1")], P3, SRGB_CURVE),
        ([(b"cICP", b"\x0c\x08\0\1"), gama(0.5)], P3, (1.0,)),
        ([(b"cICP", b"\x0c\x01\0\1")], P3, BT709_CURVE),
    ],
)
def test_colours_of_png_become_a_profile_that_shows_them(
    chunks: list[tuple[bytes, bytes]], chromaticities: tuple[float, ...], curve: Curve
) -> None:
    picture = load_picture(png(SAMPLES, 8, 2, chunks))
    assert np.abs(through(picture) - to_srgb(SAMPLES, chromaticities, curve)).max() <= 2
    assert len(picture.notes) == 1 and "ICC profile" in picture.notes[0]


def test_grey_with_a_gamma() -> None:
    ramp = np.arange(256).reshape(16, 16, 1)
    picture = load_picture(png(ramp, 8, 0, [gama(1.0), chrm(ADOBE_RGB)]))
    expected = to_srgb(ramp.repeat(3, 2), SRGB, (1.0,))
    assert picture.grey and np.abs(through(picture) - expected).max() <= 2


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [gama(1 / 2.2)],
        [gama(1 / 2.2), chrm(SRGB)],
        [chrm(SRGB)],
        [(b"sRGB", b"\0"), gama(1.0), chrm(P3)],
        [(b"cICP", b"\1\x0d\0\1"), gama(1.0)],
        [(b"cICP", b"\1\1\0\1")],
    ],
)
def test_what_is_srgb_gets_no_profile(chunks: list[tuple[bytes, bytes]]) -> None:
    picture = load_picture(png(SAMPLES, 8, 2, chunks))
    assert picture.icc is None and picture.notes == []


@pytest.mark.parametrize(
    "chunks, words",
    [
        ([gama(0)], "gamma of 0 makes no sense"),
        ([gama(42000)], "makes no sense"),
        ([chrm((0.3, 0, *SRGB[2:]))], "chromaticities"),
        ([chrm((*SRGB[:2], 0.3, 0.3, 0.3, 0.3, 0.3, 0.3))], "chromaticities"),
        ([chrm((0.0,) * 8)], "chromaticities"),
        ([(b"cICP", b"\x09\x10\0\1")], "9/16.* taken for sRGB"),
        ([(b"cICP", b"\x63\x0d\0\1")], "99/13.* taken for sRGB"),
    ],
)
def test_colours_that_no_profile_can_say_are_said(chunks: list[tuple[bytes, bytes]], words: str) -> None:
    picture = load_picture(png(SAMPLES, 8, 2, chunks))
    assert picture.icc is None and len(picture.notes) == 1
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(picture.notes[0])


def test_primaries_say_nothing_about_grey() -> None:
    picture = load_picture(png(SAMPLES[..., :1], 8, 0, [(b"cICP", b"\x0c\x0d\0\1")]))
    assert picture.grey and picture.icc is None and picture.notes == []


def test_a_profile_wins_over_gamma_and_code_points() -> None:
    icc = rgb_profile(P3, SRGB_CURVE, "P3")
    stream = io.BytesIO()
    Image.fromarray(SAMPLES.astype(np.uint8)).save(stream, "PNG", icc_profile=icc)
    data = stream.getvalue()
    gamma = png(SAMPLES, 8, 2, [gama(1.0), (b"cICP", b"\1\x08\0\1")])[33 : 33 + 16 + 16]
    picture = load_picture(data[:33] + gamma + data[33:])
    assert picture.icc == icc and picture.notes == []


def test_colours_of_avif() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 30, 30)).save(stream, "AVIF")
    data = stream.getvalue()
    assert load_picture(data).icc is None and load_picture(data).notes == []
    at = data.index(b"colrnclx") + 8
    p3 = load_picture(data[:at] + b"\0\x0c\0\x0d" + data[at + 4 :])
    assert np.abs(through(p3) - to_srgb(p3.rgb, P3, SRGB_CURVE)).max() <= 2
    assert "9/16" in load_picture(data[:at] + b"\0\x09\0\x10" + data[at + 4 :]).notes[0]


def test_cameras_that_say_adobe_rgb_by_exif_alone() -> None:
    """DCF 2.0: InteroperabilityIndex R03 in the EXIF, no profile in the file."""
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03\0"}}
    stream = io.BytesIO()
    Image.fromarray(SAMPLES.astype(np.uint8)).save(stream, "PNG", exif=PREFIX + exif.tobytes().removeprefix(PREFIX))
    picture = load_picture(stream.getvalue())
    assert np.abs(through(picture) - to_srgb(SAMPLES, ADOBE_RGB, (563 / 256,))).max() <= 2
    assert any("R03" in note for note in picture.notes)


def test_tiff_colour_tags_are_said() -> None:
    stream = io.BytesIO()
    Image.fromarray(SAMPLES.astype(np.uint8)).save(stream, "TIFF", tiffinfo={318: (0.3127, 0.329)})
    assert load_picture(stream.getvalue()).notes == ["its TIFF colours (WhitePoint) are taken for sRGB"]


def test_profiles_are_whole_and_the_same_every_time() -> None:
    for profile in (rgb_profile(P3, SRGB_CURVE, "P3"), grey_profile((1.8,), "grey")):
        assert profile is not None and len(profile) == int.from_bytes(profile[:4], "big") and len(profile) % 4 == 0
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
        assert opened.profile_description in ("P3", "grey") and opened.version == 4.4
        assert opened.xcolor_space.strip() in ("RGB", "GRAY")
    assert rgb_profile(P3, SRGB_CURVE, "P3") == rgb_profile(P3, SRGB_CURVE, "P3")


def test_an_icc_profile_that_cannot_be_inflated_is_said() -> None:
    picture = load_picture(png(SAMPLES, 8, 2, [(b"iCCP", b"name\0\0not deflated")]))
    assert picture.icc is None and picture.notes == ["its ICC profile is damaged and left out"]
