"""From any Pillow mode to 8-bit L, LA, RGB or RGBA; whatever changes on the way is said in a note."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from jndcodec.errors import InputError
from jndcodec.images.metadata import icc_colour_space
from jndcodec.images.png import Key

# modes that lose nothing, and what they become (La and RGBa are premultiplied)
_LOSSLESS = {"L": "L", "LA": "LA", "La": "LA", "RGB": "RGB", "RGBA": "RGBA", "RGBa": "RGBA", "PA": "RGBA"}


@dataclass(frozen=True)
class Storage:
    """How a file stores its samples: bits per channel, whether they are grey although Pillow gives RGBA, and PNG's
    transparency by colour or palette, which Pillow does not follow in every bit depth.
    """

    bits: int = 8
    grey: bool = False
    key: Key | None = None


def to_eight_bits(image: Image.Image, stored: Storage, notes: list[str]) -> Image.Image:
    """The loaded image in mode L, LA, RGB or RGBA.

    stored: from `storage`; notes: gets a line for each thing that was changed.
    Raises InputError for samples without a defined range (floats, 32-bit integers).
    """
    mode = image.mode
    if stored.key is not None and mode in ("1", "L", "RGB", "P", "I;16"):
        alpha = Image.fromarray(stored.key.alpha(image))
        opaque = image.copy()
        opaque.info.pop("transparency", None)
        converted = to_eight_bits(opaque, replace(stored, key=None), notes)
        converted.putalpha(alpha)
        return converted
    clear = image.has_transparency_data  # an alpha channel, a palette with alpha, or one transparent colour
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        return _from_sixteen_bits(image, stored.bits if stored.bits > 8 else 16, notes)
    if stored.bits > 8:
        notes.append(f"{stored.bits} bits per channel reduced to 8")
    if mode == "1":
        notes.append("1-bit picture coded as 8-bit grey")
        return image.convert("LA" if clear else "L")
    if stored.grey:
        return image.convert("LA")
    if mode in _LOSSLESS:
        target = _LOSSLESS[mode]
        target = {"L": "LA", "RGB": "RGBA"}.get(target, target) if clear else target
        return image if target == mode else image.convert(target)  # converting to its own mode would copy it
    if mode == "P":
        return image.convert("RGBA" if clear else "RGB")
    if mode == "CMYK":
        return _from_cmyk(image, notes)
    if mode == "LAB":
        notes.append("CIELAB converted to sRGB")
        return _through_profile(image, ImageCms.createProfile("LAB"))
    if mode in ("RGBX", "YCbCr", "HSV"):
        notes.append("its unspecified fourth channel is left out" if mode == "RGBX" else f"{mode} converted to RGB")
        return image.convert("RGB")
    kind = {"F": "floating-point", "I": "32-bit integer"}.get(mode, mode)
    raise InputError(f"{kind} samples have no defined black and white: convert the picture to 8 or 16 bits first")


def _from_sixteen_bits(image: Image.Image, bits: int, notes: list[str]) -> Image.Image:
    """Grey samples of 9 to 16 bits, rounded to 0..255. TIFF's come as 0..2^bits - 1, all others' as 0..65535."""
    top = 2**bits - 1 if image.format == "TIFF" else 65535
    table = np.minimum((np.arange(65536, dtype=np.uint32) * 255 + top // 2) // top, 255).astype(np.uint8)
    values = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
    notes.append(f"{bits} bits per channel reduced to 8")
    grey = Image.fromarray(table[values])
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
        return Image.merge("LA", (grey, alpha))
    return grey


def _from_cmyk(image: Image.Image, notes: list[str]) -> Image.Image:
    icc = image.info.get("icc_profile")
    if icc and icc_colour_space(icc) == "CMYK":
        try:
            converted = _through_profile(image, ImageCms.ImageCmsProfile(BytesIO(icc)))
            notes.append("CMYK converted to sRGB through its ICC profile")
            return converted
        except (ImageCms.PyCMSError, OSError):
            notes.append("its ICC profile is unusable")
    notes.append("CMYK without a profile converted to RGB by the plain formula: colours are approximate")
    return image.convert("RGB")


def _through_profile(image: Image.Image, profile: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile) -> Image.Image:
    """To sRGB, relative colorimetric with black point compensation: what browsers and editors do by default."""
    converted = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # only in place there is none
    return converted


def storage(image: Image.Image, head: bytes) -> Storage:
    """How the file stores the samples, which Pillow hides where it reduces or widens them by itself.

    image: opened, not loaded (its tiles still say it); head: the first bytes of the file.
    """
    if isinstance(image, TiffImageFile):
        return Storage(max(image.tag_v2.get(258, (8,))))  # BitsPerSample
    if image.format == "JPEG2000" and (start := head.find(b"\xff\x4f\xff\x51")) >= 0:
        return Storage((head[start + 42] & 127) + 1 if len(head) > start + 42 else 8)  # Ssiz of the first component
    if image.format == "AVIF" and (start := head.find(b"pixi")) >= 0:
        return Storage(head[start + 9] if len(head) > start + 9 else 8)  # after version, flags, number of channels
    for tile in getattr(image, "tile", ()):
        args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(value, str) and ";16" in value for value in args):
            return Storage(16, grey=image.format == "PNG" and args[0] == "LA;16B")  # opens as RGBA
        if image.format == "PPM" and isinstance(args[-1], int) and args[-1] > 255:
            return Storage(16)
    return Storage()
