"""Pictures in: whatever people have becomes a `Picture`, upright, 8 bits, with its metadata; and back to Pillow.

Nothing is converted or left out silently: `Picture.notes` says it.
"""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from jndcodec.container.jlc import MAGIC
from jndcodec.errors import InputError, JndcodecError, LimitError
from jndcodec.images.exif import Cleaned, clean, of_tiff
from jndcodec.images.metadata import (
    exif_of,
    icc_colour_space,
    image_info,
    other_colours,
    reset_xmp_orientation,
    xmp_of,
)
from jndcodec.images.pixels import Storage, storage, to_eight_bits

MAX_PIXELS = 1 << 28  # default of every max_pixels: 268 megapixels
_HEAD = 1 << 20  # enough of a file to hold the headers that pixels.storage looks at
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_lock = threading.Lock()  # Pillow's pixel limit and Python's warning filters are global


@dataclass
class Picture:
    """An upright picture. Grey ones carry three equal channels, so that every model sees the same shape."""

    rgb: np.ndarray  # uint8 (H, W, 3)
    grey: bool = False  # came with one colour channel: decodes to L or LA
    alpha: np.ndarray | None = None  # uint8 (H, W), not premultiplied
    icc: bytes | None = None  # profile of `rgb` (or of the grey channel); None: sRGB
    exif: bytes | None = None  # TIFF structure without the JPEG prefix, orientation 1
    xmp: bytes | None = None
    notes: list[str] = field(default_factory=list)  # what was converted or left out, a line each

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def metadata(self) -> dict[str, bytes | None]:
        """What stands beside the pixels, by the name of its field."""
        return {"icc": self.icc, "exif": self.exif, "xmp": self.xmp}


def load_picture(
    source: str | Path | bytes | BinaryIO | Image.Image, max_pixels: int | None = MAX_PIXELS, *, name: str | None = None
) -> Picture:
    """Read a picture from a path, bytes, a binary stream or a Pillow image (which stays as it is).

    max_pixels: refuse more, before decoding them; None: no limit. name: how messages call it (the path by default).
    Raises InputError (missing, empty, damaged, unknown, float samples), LimitError (too many pixels, or no memory).
    """
    name = name or (str(source) if isinstance(source, (str, Path)) else "the picture")
    try:
        return _load(source, max_pixels)
    except JndcodecError as error:
        raise type(error)(f"{name}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder, not a picture") from error
    except PermissionError as error:
        raise InputError(f"{name}: no permission to read it") from error
    except MemoryError as error:
        raise LimitError(f"{name}: not enough memory to decode it; make it smaller first") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files: struct.error, KeyError, ...
        reason = " ".join(str(error).split()) or type(error).__name__  # some plugins explain themselves in paragraphs
        raise InputError(f"{name}: damaged or cut short ({reason}); try to save it again with an editor") from error


def _load(source: str | Path | bytes | BinaryIO | Image.Image, max_pixels: int | None) -> Picture:
    if isinstance(source, Image.Image):
        _check_size(*source.size, max_pixels)
        stored = storage(source, b"")
        source.load()
        return _to_picture(source, stored, _exif(source), [])
    if isinstance(source, (str, Path)):
        with open(source, "rb") as stream:
            return _read(stream, max_pixels)
    return _read(BytesIO(source if isinstance(source, bytes) else source.read()), max_pixels)


def _read(stream: BinaryIO, max_pixels: int | None) -> Picture:
    head = stream.read(_HEAD)
    if not head:
        raise InputError("is empty (0 bytes)")
    if head.startswith(MAGIC):  # Pillow would open it where our plugin is registered
        raise InputError("is a .jlc file already; `jndcodec decode` makes a picture of it")
    stream.seek(0)
    with _lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours is checked instead
        try:
            image = Image.open(stream)
            _check_size(*image.size, max_pixels)
            _refuse_preview(image)
            stored = storage(image, head)
            image.load()
        except UnidentifiedImageError:
            raise InputError(_unknown(head)) from None
        finally:
            Image.MAX_IMAGE_PIXELS = pillow_limit
        notes = list(dict.fromkeys(str(warning.message) for warning in caught))
        if not image.info.get("icc_profile") and (colours := other_colours(image.format, head)):
            notes.append(
                f"its wide-gamut or HDR colours (H.273 code {colours}) are taken for sRGB: they will look dull"
            )
        return _to_picture(image, stored, of_tiff(stream) if image.format == "TIFF" else _exif(image), notes)


def _check_size(width: int, height: int, max_pixels: int | None) -> None:
    if width < 1 or height < 1:
        raise InputError(f"has no pixels ({width}x{height})")
    if max_pixels is not None and width * height > max_pixels:
        raise LimitError(
            f"{width}x{height} is {width * height} pixels, more than the {max_pixels} allowed; raise --max-pixels"
        )


def _refuse_preview(image: Image.Image) -> None:
    """Raw files of cameras (DNG, NEF, ...) open as TIFF whose first picture is a small preview (tag NewSubfileType)."""
    if isinstance(image, TiffImageFile) and image.tag_v2.get(254, 0) & 1:
        raise InputError("starts with a preview, as raw files of cameras do: develop it to PNG or JPEG first")


def _unknown(head: bytes) -> str:
    """What to do about a file that Pillow does not know."""
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "is HEIC, which is not read: convert it to PNG or JPEG first"
    if head[:2] == b"\xff\x0a" or head[4:8] == b"JXL ":
        return "is JPEG XL, which is not read: convert it to PNG first (djxl)"
    return "not a picture of a known format (PNG, JPEG, WebP, AVIF, TIFF, ... are), or its header is damaged"


def _exif(image: Image.Image) -> Cleaned:
    try:
        return clean(exif_of(image) or b"")
    except Exception:  # damaged tags: as for damaged pixels, Pillow raises nearly anything
        return Cleaned(None, damaged=True)


def _to_picture(image: Image.Image, stored: Storage, exif: Cleaned, notes: list[str]) -> Picture:
    """A loaded image as a Picture; `notes` is kept and added to."""
    frames = _frames(image)
    if frames > 1:
        notes.append(f"first of {frames} frames")
    notes += exif.notes
    orientation, xmp = exif.orientation, xmp_of(image)
    gamma = image.info.get("gamma", 1 / 2.2)
    if abs(gamma * 2.2 - 1) > 0.02 and "srgb" not in image.info and "icc_profile" not in image.info:
        notes.append(f"its PNG gamma of {gamma:.4g} is left out: brightness will change in viewers that follow it")

    icc = image.info.get("icc_profile") or None
    converted = to_eight_bits(image, stored, notes)
    if orientation in _UPRIGHT:
        converted = converted.transpose(_UPRIGHT[orientation])
        xmp = reset_xmp_orientation(xmp) if xmp else None
    grey = converted.mode in ("L", "LA")
    if image.mode in ("CMYK", "LAB"):
        icc = None  # used up: the pixels are sRGB now
    elif icc and icc_colour_space(icc) != ("GRAY" if grey else "RGB"):
        notes.append(f"its ICC profile is not one for {'grey' if grey else 'RGB'} pictures and is left out")
        icc = None
    alpha = np.array(converted.getchannel("A")) if converted.mode in ("LA", "RGBA") else None
    if grey:
        rgb = np.repeat(np.asarray(converted.getchannel("L"))[..., None], 3, axis=2)
    else:
        rgb = np.array(converted if converted.mode == "RGB" else converted.convert("RGB"))
    return Picture(rgb, grey, alpha, icc, exif.block, xmp, notes)


def _frames(image: Image.Image) -> int:
    try:
        return 1 if image.format == "PSD" else getattr(image, "n_frames", 1)  # a PSD's frames are its layers, merged
    except Exception:  # counting walks the whole file: the first frame is good, a later one is damaged
        return 1


def picture_to_image(picture: Picture) -> Image.Image:
    """The picture as a Pillow image of mode L, LA, RGB or RGBA; `info` holds icc_profile, exif (with its JPEG prefix)
    and xmp. Pillow does not write them by itself in every format: `saving.write_image` does.
    """
    if picture.grey:  # the three channels of a decoded grey picture differ a little: their mean is the best estimate
        mean = (picture.rgb.sum(axis=2, dtype=np.uint16) + 1) // 3
        bands = [Image.fromarray(mean.astype(np.uint8))]
    else:
        bands = list(Image.fromarray(picture.rgb).split()) if picture.alpha is not None else []
    if picture.alpha is not None:
        bands.append(Image.fromarray(picture.alpha))
    modes = {1: "L", 2: "LA", 4: "RGBA"}
    image = Image.merge(modes[len(bands)], bands) if bands else Image.fromarray(picture.rgb)
    image.info.update(image_info(picture.icc, picture.exif, picture.xmp))
    return image
