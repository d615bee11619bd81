"""Colours that a file names without an ICC profile: they get one, or a note where that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL.ExifTags import IFD

from jndcodec.images.exif_tags import value_of
from jndcodec.images.icc import (
    ADOBE_CURVE,
    ADOBE_RGB,
    BT709_CURVE,
    D65,
    SRGB,
    SRGB_CURVE,
    Chromaticities,
    Curve,
    grey_profile,
    rgb_profile,
)

# ITU-T H.273, tables 2 and 3, as far as a matrix and a curve can say them
_PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB,
    2: SRGB,  # unspecified
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_CURVES: dict[int, Curve] = {
    2: SRGB_CURVE,
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: SRGB_CURVE,
    **dict.fromkeys((1, 6, 14, 15), BT709_CURVE),
}
_LIKE_SRGB = (1, 2, 6, 13, 14, 15)  # curves that everybody shows as sRGB's where the primaries are sRGB's too
_TIFF_COLOURS = {301: "TransferFunction", 318: "WhitePoint", 319: "PrimaryChromaticities"}


def made_profile(
    file_format: str | None, info: Mapping[Any, Any], exif: bytes | None, code_points: bytes, grey: bool
) -> tuple[bytes | None, list[str]]:
    """(profile or None for sRGB, notes) of a picture without an ICC profile.

    info: of its Pillow image; exif: its cleaned block; code_points: primaries and transfer by H.273, or nothing; grey:
    whether it has one colour channel.
    """
    if len(code_points) >= 2:
        return _by_code_points(code_points[0], code_points[1], grey)
    if file_format == "PNG" and "srgb" not in info and ("gamma" in info or "chromaticity" in info):
        return _by_gamma(info.get("gamma"), info.get("chromaticity"), grey)
    if not grey and (value_of(exif, 1, IFD.Exif, IFD.Interop) or b"")[:3] == b"R03":
        return rgb_profile(ADOBE_RGB, ADOBE_CURVE, "Adobe RGB (1998) compatible"), [
            "its EXIF says Adobe RGB (R03): it gets an ICC profile for that"
        ]
    return None, []


def code_points(file_format: str | None, head: bytes, chunks: Mapping[bytes, bytes]) -> bytes:
    """Primaries and transfer that a PNG (cICP) or AVIF (nclx) names, a byte each; nothing if it does not.

    head: the first bytes of the file; chunks: from `png.read_chunks`.
    """
    if file_format == "PNG":
        return chunks.get(b"cICP", b"")[:2]
    start = head.find(b"colrnclx") if file_format == "AVIF" else -1
    return head[start + 9 : start + 12 : 2] if start >= 0 else b""  # low bytes of two 16-bit values


def unread_colours(tags: Mapping[int, Any]) -> list[str]:
    """A note on tags of a TIFF file that describe its colours, which are not followed."""
    found = [name for tag, name in _TIFF_COLOURS.items() if tag in tags]
    return [f"its TIFF colours ({', '.join(found)}) are taken for sRGB"] if found else []


def _by_code_points(primaries: int, transfer: int, grey: bool) -> tuple[bytes | None, list[str]]:
    if transfer in _LIKE_SRGB and (grey or _PRIMARIES.get(primaries) == SRGB):
        return None, []
    name = f"H.273 {primaries}/{transfer}"
    curve = _CURVES.get(transfer)
    if curve and grey:
        return grey_profile(curve, name), [f"its colours ({name}) are kept as an ICC profile"]
    if curve and primaries in _PRIMARIES:
        return rgb_profile(_PRIMARIES[primaries], curve, name), [f"its colours ({name}) are kept as an ICC profile"]
    return None, [f"its wide-gamut or HDR colours ({name}) are taken for sRGB: they will look dull"]


def _by_gamma(gamma: float | None, chromaticities: Chromaticities | None, grey: bool) -> tuple[bytes | None, list[str]]:
    """PNG's gAMA and cHRM; 1/2.2 with the primaries of sRGB means sRGB, as everybody takes it."""
    if gamma is not None and not 0.1 <= gamma <= 10:
        return None, [f"its PNG gamma of {gamma:.4g} makes no sense and is left out"]
    usual = gamma is None or abs(gamma * 2.2 - 1) <= 0.02
    same = chromaticities is None or all(abs(a - b) < 0.003 for a, b in zip(chromaticities, SRGB, strict=True))
    if usual and (same or grey):
        return None, []
    curve = SRGB_CURVE if gamma is None else (1 / gamma,)
    if grey:
        profile: bytes | None = grey_profile(curve, "PNG gAMA")
    else:
        profile = rgb_profile(chromaticities or SRGB, curve, "PNG gAMA and cHRM")
    if profile is None:
        return None, ["its PNG chromaticities (cHRM) make no sense and are left out"]
    return profile, ["its colours (gAMA, cHRM) are kept as an ICC profile"]
