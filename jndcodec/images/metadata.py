"""EXIF, XMP and ICC as bytes: what is read out of a Pillow image, and put into one."""

from __future__ import annotations

import re

from PIL import Image

from jndcodec.images.exif import PREFIX

_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))[2-8]")


def reset_xmp_orientation(xmp: bytes) -> bytes:
    """The same XMP packet with `tiff:Orientation` set to 1, for a picture that has been turned upright."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def exif_of(image: Image.Image) -> bytes | None:
    """The EXIF block of a Pillow image, as it is. May raise whatever Pillow raises on damaged tags."""
    exif = image.info.get("exif")
    if exif is None and "Raw profile type exif" in image.info:  # how ImageMagick wrote it into PNG before eXIf
        exif = bytes.fromhex("".join(image.info["Raw profile type exif"].split("\n")[3:]))
    if exif is None and hasattr(image, "tag_v2"):
        exif = image.getexif()
    if isinstance(exif, Image.Exif):
        exif = exif.tobytes() if len(exif) else None
    return exif or None


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
    blocks = {"icc_profile": icc, "exif": exif and PREFIX + exif, "xmp": xmp}
    return {key: block for key, block in blocks.items() if block}
