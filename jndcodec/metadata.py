"""EXIF, XMP and ICC as bytes: what is read out of a Pillow image, and the orientation taken out of it.

Nothing here rewrites a block: only the orientation value is overwritten in place, so that thumbnails, maker notes and
every offset in them stay valid.
"""

from __future__ import annotations

import re
import struct

from PIL import Image
from PIL.ExifTags import IFD, Base

EXIF_PREFIX = b"Exif\x00\x00"  # what JPEG puts before the TIFF structure; `Picture.exif` goes without it
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))[2-8]")
_INTEGER = {1: "B", 3: "H", 4: "I"}  # TIFF field types that an orientation is found in (EXIF 2.32, 4.6.2)
# A TIFF file's own tags are its EXIF; these describe the picture, the rest says how its pixels are stored.
_DESCRIPTIVE = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.XResolution,
    Base.YResolution,
    Base.ResolutionUnit,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.Copyright,
)


def take_orientation(exif: bytes) -> tuple[int, bytes]:
    """The EXIF orientation (1..8), and the same bytes with its value set to 1. Damaged EXIF gives 1 and is left alone.

    exif: a TIFF structure, without the JPEG prefix (TIFF 6.0, section 2: header, then a directory of 12-byte entries).
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1, exif
    patched = bytearray(exif)
    try:
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, entry)
            if tag == Base.Orientation and kind in _INTEGER:
                (value,) = struct.unpack_from(order + _INTEGER[kind], exif, entry + 8)
                if not 2 <= value <= 8:
                    return 1, exif
                struct.pack_into(order + _INTEGER[kind], patched, entry + 8, 1)
                return value, bytes(patched)
    except struct.error:
        pass
    return 1, exif


def reset_xmp_orientation(xmp: bytes) -> bytes:
    """The same XMP packet with `tiff:Orientation` set to 1, for a picture that has been turned upright."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def exif_of(image: Image.Image) -> bytes | None:
    """The EXIF block of a loaded image as a TIFF structure. May raise whatever Pillow raises on damaged tags."""
    exif = image.info.get("exif")
    if exif is None and "Raw profile type exif" in image.info:  # how ImageMagick wrote it into PNG before eXIf
        exif = bytes.fromhex("".join(image.info["Raw profile type exif"].split("\n")[3:]))
    if exif is None and hasattr(image, "tag_v2"):
        exif = _exif_of_tiff(image)
    if isinstance(exif, Image.Exif):
        exif = exif.tobytes()
    return exif.removeprefix(EXIF_PREFIX) if exif else None


def _exif_of_tiff(image: Image.Image) -> bytes | None:
    source, kept = image.getexif(), Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in source:
            kept[tag] = source[tag]
    for directory in (IFD.Exif, IFD.GPSInfo):
        if tags := source.get_ifd(directory):
            kept[directory] = dict(tags)
    return kept.tobytes() if len(kept) else None


def xmp_of(image: Image.Image) -> bytes | None:
    """The XMP packet of an image (UTF-8 as a rule; kept as the bytes that stood in the file)."""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return (xmp.encode() if isinstance(xmp, str) else bytes(xmp)) if xmp else None


def icc_colour_space(icc: bytes) -> str | None:
    """What an ICC profile is for, from its header: "RGB", "GRAY", "CMYK", ... (ICC.1:2022, 7.2); None if it is none."""
    if len(icc) < 128 or icc[36:40] != b"acsp":
        return None
    return icc[16:20].decode("latin-1").strip()


def other_colours(file_format: str | None, head: bytes) -> str | None:
    """Wide-gamut or HDR colours that a PNG (cICP) or AVIF (nclx) names by code points instead of a profile.

    As "primaries/transfer" (ITU-T H.273); None where they are those of sRGB or BT.709, or are not named. head: the
    first bytes of the file.
    """
    if file_format == "PNG" and (start := head.find(b"cICP")) >= 0:
        values = head[start + 4 : start + 6]
    elif file_format == "AVIF" and (start := head.find(b"colrnclx")) >= 0:
        values = head[start + 9 : start + 12 : 2]  # low bytes of two 16-bit values
    else:
        return None
    if len(values) < 2 or (values[0] in (1, 2) and values[1] in (1, 2, 6, 13)):  # 2: unspecified
        return None
    return f"{values[0]}/{values[1]}"


def image_info(icc: bytes | None = None, exif: bytes | None = None, xmp: bytes | None = None) -> dict[str, bytes]:
    """The entries of a Pillow image's `info` that carry these blocks; its EXIF has the JPEG prefix."""
    blocks = {"icc_profile": icc, "exif": exif and EXIF_PREFIX + exif, "xmp": xmp}
    return {key: block for key, block in blocks.items() if block}
