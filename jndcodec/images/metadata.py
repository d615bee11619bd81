"""EXIF, XMP and ICC as bytes: what is read out of a Pillow image, and put into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from PIL import Image

from jndcodec.container.jlc import MAX_METADATA
from jndcodec.images.embedded import embedded_blocks
from jndcodec.images.exif import PREFIX, Cleaned, clean
from jndcodec.images.exif_tags import of_tiff, with_resolution
from jndcodec.images.xmp import join, reset_orientation

_IPTC = 0x0404  # the Photoshop resource that holds it in JPEG
_IPTC_TAG = 33723  # and the tag in TIFF
_PROFILES = {"XML:com.adobe.xmp"} | {f"Raw profile type {name}" for name in ("exif", "xmp", "iptc", "8bim")}
_OF_PROGRAMS = ("Software", "date:")  # PNG texts that say nothing about the picture


@dataclass
class Metadata:
    """The blocks of a picture, fit for it when it stands upright; orientation: how to turn it so, 1 … 8."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    orientation: int = 1
    notes: list[str] = field(default_factory=list)  # what was damaged or has no place, a line each


def read_metadata(image: Image.Image, info: Mapping[Any, Any], stream: BinaryIO | None = None) -> Metadata:
    """What stands beside the pixels of a loaded image. info: what to take for its `info`; stream: its file, if any."""
    notes: list[str] = []
    info = embedded_blocks(image, stream) | {**info}
    exif = of_tiff(stream) if stream is not None and image.format == "TIFF" else _exif(image, info)
    notes += exif.notes
    block = exif.block
    dpi = info.get("dpi") if image.format != "JPEG" or info.get("jfif_unit") in (1, 2) else None
    if dpi and image.format != "TIFF":
        block = with_resolution(block, dpi[::-1] if exif.orientation >= 5 else dpi)
    xmp = _xmp(info)
    joined = join(xmp, [data for name, data in getattr(image, "applist", ()) if name == "APP1"]) if xmp else None
    if xmp and joined is None:
        notes.append("the extended part of its XMP is damaged and left out")
    xmp = joined or xmp
    if xmp and exif.orientation != 1:
        xmp = reset_orientation(xmp)
    icc = info.get("icc_profile") or None
    if "icc_profile" in info and info["icc_profile"] is None:  # so Pillow says that a PNG's cannot be inflated
        notes.append("its ICC profile is damaged and left out")
    found = Metadata(icc, block, xmp, exif.orientation, notes)
    for field_name, name in (("icc", "ICC profile"), ("exif", "EXIF"), ("xmp", "XMP")):
        if len(getattr(found, field_name) or b"") > MAX_METADATA:
            notes.append(f"its {name} is larger than 64 MiB and left out")
            setattr(found, field_name, None)
    if homeless := _homeless(image, info):
        notes.append(f"left out, since .jlc has no place for it: {', '.join(homeless)}")
    return found


def _homeless(image: Image.Image, info: Mapping[Any, Any]) -> list[str]:
    """Names of what a picture brings and no section holds."""
    found = []
    if (
        _IPTC in info.get("photoshop", {})
        or "Raw profile type iptc" in info
        or _IPTC_TAG in getattr(image, "tag_v2", ())
        or any(number == _IPTC for number, *_ in getattr(image, "resources", ()))
    ):
        found.append("IPTC")
    comment = info.get("comment") or b""
    if comment and not (image.format == "JPEG2000" and bytes(comment).startswith(b"Created by ")):
        found.append("comment")
    texts = [key for key in getattr(image, "text", {}) if key not in _PROFILES and not key.startswith(_OF_PROGRAMS)]
    if texts:
        found.append(f"text ({', '.join(texts[:4])}{', …' if len(texts) > 4 else ''})")
    return found


def _raw_profile(info: Mapping[Any, Any], name: str) -> bytes:
    """A block as ImageMagick writes it into PNG text: a blank line, its name, its length, hexadecimal lines."""
    return bytes.fromhex("".join(info[f"Raw profile type {name}"].split("\n")[3:]))


def _exif(image: Image.Image, info: Mapping[Any, Any]) -> Cleaned:
    exif = info.get("exif")
    try:
        if "exif" not in info and "Raw profile type exif" in info:
            exif = _raw_profile(info, "exif")
        if "exif" not in info and hasattr(image, "tag_v2"):
            exif = image.getexif()
        if isinstance(exif, Image.Exif):
            exif = exif.tobytes() if len(exif) else None
        return clean(exif or b"")
    except Exception:  # damaged tags: as for damaged pixels, Pillow raises nearly anything
        return Cleaned(None, damaged=True)


def _xmp(info: Mapping[Any, Any]) -> bytes | None:
    """The XMP packet (UTF-8 as a rule; kept as the bytes that stood in the file)."""
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    if not xmp and "xmp" not in info and "Raw profile type xmp" in info:
        try:
            xmp = _raw_profile(info, "xmp")
        except ValueError:
            xmp = None
    return (xmp.encode() if isinstance(xmp, str) else bytes(xmp)) if xmp else None


def icc_colour_space(icc: bytes) -> str | None:
    """What an ICC profile is for, from its header: "RGB", "GRAY", "CMYK", ... (ICC.1:2022, 7.2); None if it is none."""
    if len(icc) < 128 or icc[36:40] != b"acsp":
        return None
    return icc[16:20].decode("latin-1").strip()


def image_info(icc: bytes | None = None, exif: bytes | None = None, xmp: bytes | None = None) -> dict[str, bytes]:
    """The entries of a Pillow image's `info` that carry these blocks; its EXIF has the JPEG prefix."""
    blocks = {"icc_profile": icc, "exif": exif and PREFIX + exif, "xmp": xmp}
    return {key: block for key, block in blocks.items() if block}
