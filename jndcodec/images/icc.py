"""ICC profiles for colours that a file names in another way: primaries and a curve (ICC.1:2022, version 4)."""

from __future__ import annotations

import struct

import numpy as np

Curve = tuple[float, ...]  # parameters of parametricCurveType: (gamma,), or (g, a, b, c, d) with a linear foot
Chromaticities = tuple[float, ...]  # x, y of white, red, green, blue

SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE: Curve = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
D65 = (0.3127, 0.3290)
SRGB: Chromaticities = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_RGB: Chromaticities = (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ADOBE_CURVE: Curve = (563 / 256,)  # Adobe RGB (1998), 4.3.1.2
_D50 = np.array([0.9642, 1.0, 0.8249])  # the illuminant of the profile connection space, as the header has it
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def rgb_profile(chromaticities: Chromaticities, curve: Curve, name: str) -> bytes | None:
    """A display profile; None where the chromaticities span no colours."""
    white, *primaries = (_xyz(*chromaticities[i : i + 2]) for i in range(0, 8, 2))
    columns = np.stack(primaries, axis=1)
    if not np.isfinite(columns).all() or not np.isfinite(white).all() or abs(np.linalg.det(columns)) < 1e-4:
        return None
    adaptation = _to_d50(white)
    colorants = adaptation @ (columns * np.linalg.solve(columns, white))
    if not np.isfinite(colorants).all() or np.abs(colorants).max() > 4:
        return None
    tags = _common(name, adaptation)
    for channel, column in zip((b"r", b"g", b"b"), colorants.T, strict=True):
        tags[channel + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(column)
        tags[channel + b"TRC"] = _parametric(curve)
    return _profile(b"RGB ", tags)


def grey_profile(curve: Curve, name: str) -> bytes:
    """A display profile of one channel, its white that of sRGB."""
    return _profile(b"GRAY", _common(name, _to_d50(_xyz(*D65))) | {b"kTRC": _parametric(curve)})


def _xyz(x: float, y: float) -> np.ndarray:
    """A chromaticity as XYZ with Y = 1; not finite for y = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.array([x, y, 1 - x - y]) / np.float64(y)


def _to_d50(white: np.ndarray) -> np.ndarray:
    """The linear Bradford adaptation from `white` to D50, 3×3."""
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.linalg.solve(_BRADFORD, gains[:, None] * _BRADFORD)


def _fixed(values: np.ndarray) -> bytes:
    return np.round(np.ravel(values) * 65536).astype(">i4").tobytes()


def _parametric(curve: Curve) -> bytes:
    return struct.pack(">4sIHH", b"para", 0, 0 if len(curve) == 1 else 3, 0) + _fixed(np.array(curve))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return struct.pack(">4sIII2s2sII", b"mluc", 0, 1, 12, b"en", b"US", len(encoded), 28) + encoded


def _common(name: str, adaptation: np.ndarray) -> dict[bytes, bytes]:
    return {
        b"desc": _text(name),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(_D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(adaptation),
    }


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Header, table and data; equal data stands once."""
    table, data = b"", b""
    places: dict[bytes, int] = {}
    for tag, content in tags.items():
        if content not in places:
            places[content] = 132 + 12 * len(tags) + len(data)
            data += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", tag, places[content], len(content))
    body = struct.pack(">I", len(tags)) + table + data
    date = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)  # fixed: the same colours give the same bytes
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"", 0x04400000, b"mntr", space, b"XYZ ") + date
    header += b"acsp" + bytes(24) + struct.pack(">I", 1) + _fixed(_D50)  # relative colorimetric
    return header.ljust(128, b"\0") + body
