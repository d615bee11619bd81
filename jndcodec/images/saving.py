"""Decoded pictures out, to any format that Pillow writes, with the metadata that the format holds."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base

from jndcodec.errors import OutputError
from jndcodec.images.exif import PREFIX, clean
from jndcodec.images.exif_tags import into_tiff, resolution
from jndcodec.images.xmp import MARKER, SEGMENT, split

# EXIF has one segment; a profile has 255, each with a name and two numbers; XMP is split
_JPEG_LIMITS = {"exif": SEGMENT - len(PREFIX), "icc_profile": 255 * (SEGMENT - 14)}
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class _Ability:
    """What a format holds when Pillow writes it, and the options that keep the most of the picture."""

    alpha: bool = False
    icc: bool = False
    exif: bool = False
    xmp: bool = False
    loss: str | None = None  # said in a note
    options: dict[str, Any] = field(default_factory=dict)


_ALL: dict[str, Any] = {"icc": True, "exif": True, "xmp": True}
_ABILITIES = {
    # under half the time of the default, 6, for 1 to 3 % more bytes of a photo; 3 costs drawings 13 %
    "PNG": _Ability(alpha=True, **_ALL, options={"compress_level": 4}),
    "TIFF": _Ability(alpha=True, **_ALL),
    "WEBP": _Ability(alpha=True, **_ALL, options={"lossless": True, "exact": True}),
    "AVIF": _Ability(
        alpha=True, **_ALL, loss="AVIF is lossy: written at quality 95", options={"quality": 95, "subsampling": "4:4:4"}
    ),
    "JPEG": _Ability(
        **_ALL, loss="JPEG is lossy: written at quality 95", options={"quality": 95, "subsampling": "4:4:4"}
    ),
    "JPEG2000": _Ability(alpha=True),
    "BMP": _Ability(),
    "PPM": _Ability(),
    "TGA": _Ability(alpha=True),
    "GIF": _Ability(alpha=True, loss="GIF holds 256 colours: the picture is reduced to them"),
    "ICO": _Ability(alpha=True, loss="ICO holds small icons: the picture is shrunk to them"),
}


def format_for(suffix: str) -> str:
    """Pillow's name of the format that a file suffix (".png") stands for. Raises OutputError."""
    name = Image.registered_extensions().get(suffix.lower())
    if name not in Image.SAVE or name == "JLC":
        raise OutputError(f"{suffix or 'no suffix'}: not a format that pictures are written to; use .png, .webp, .tif")
    return "JPEG" if name == "MPO" else name


def write_image(image: Image.Image, stream: BinaryIO, file_format: str) -> list[str]:
    """Write `image` with the ICC profile, EXIF and XMP in its `info`; returns notes on what the format could not hold.

    file_format: from `format_for`. stream: seekable. Raises OutputError where the picture does not fit the format
    (transparency in JPEG, too large a side for WebP); OSError of the stream itself passes through.
    """
    ability = _ABILITIES.get(file_format, _Ability(loss=f"{file_format} may hold less than the picture"))
    if "A" in image.mode and not ability.alpha:
        raise OutputError(f"{file_format} holds no transparency, the picture has it; write .png, .webp or .tif")
    options, notes = _metadata_options(image, file_format, ability)
    if ability.loss:
        notes.append(ability.loss)
    exif = options.pop("exif", None) if file_format == "TIFF" else None  # Pillow's types for its tags are guesses
    try:
        image.save(stream, file_format, **ability.options, **options)
        if exif:
            into_tiff(stream, exif)
    except Exception as error:  # Pillow's writers raise nearly anything on what they cannot hold
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise OutputError(f"cannot be written as {file_format} ({error}); write .png instead") from error
    return notes


def _metadata_options(image: Image.Image, file_format: str, ability: _Ability) -> tuple[dict[str, Any], list[str]]:
    """The arguments of Image.save that carry the metadata, and notes on what is left out."""
    icc, exif, xmp = (image.info.get(key) for key in ("icc_profile", "exif", "xmp"))
    # Pillow's AVIF writer makes the whole block anew, and may fail at it, where there is an orientation in it
    cleaned = clean(exif or b"", keep_orientation=file_format != "AVIF")
    exif, notes = cleaned.block, cleaned.notes
    kept: dict[str, Any] = {"icc_profile": None}  # Pillow would take it from info by itself in some formats
    for key, name, block, holds in (
        ("icc_profile", "ICC profile", icc, ability.icc),
        ("exif", "EXIF", exif, ability.exif),
        ("xmp", "XMP", xmp, ability.xmp),
    ):
        too_long = file_format == "JPEG" and len(block or b"") > _JPEG_LIMITS.get(key, _NO_LIMIT)
        if block and holds and not too_long:
            kept[key] = block
        elif block:
            notes.append(f"{file_format} cannot hold {'so long ' if too_long else ''}its {name}: left out")
    if dpi := resolution(exif):
        kept["dpi"] = dpi  # most readers look for it in the format's own place
    if "exif" in kept and file_format == "JPEG":
        kept["exif"] = PREFIX + kept["exif"]
    if file_format == "JPEG" and len(kept.get("xmp", b"")) > SEGMENT - len(MARKER):
        parts = split(kept.pop("xmp"))
        kept["extra"] = b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in parts)
    if "xmp" in kept and file_format == "PNG":
        kept["pnginfo"] = _png_text(kept.pop("xmp"))
    if file_format == "TIFF":
        kept["tiffinfo"] = {Base.Orientation: 1}  # without it readers look for one in the XMP
        if "xmp" in kept:
            kept["tiffinfo"][Base.XMLPacket] = kept.pop("xmp")
    return kept, notes


def _png_text(xmp: bytes) -> PngImagePlugin.PngInfo:
    """XMP as the uncompressed iTXt chunk that its specification asks for (XMP part 3, 1.1.5)."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", errors="replace"))
    return info
