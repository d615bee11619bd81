"""Pictures in: whatever people have becomes a `Picture`, upright, 8 bits, with its metadata; and back to Pillow.

Nothing is converted or left out silently: `Picture.notes` says it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from jndcodec.errors import InputError, JndcodecError, LimitError
from jndcodec.images.colours import made_profile, unread_colours
from jndcodec.images.hidden import fill_hidden
from jndcodec.images.metadata import icc_colour_space, image_info, read_metadata
from jndcodec.images.opening import Opened, check_size, load_opened, open_picture
from jndcodec.images.pixels import to_eight_bits

MAX_PIXELS = 1 << 28  # default of every max_pixels: 268 megapixels
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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

    def seen(self) -> np.ndarray:
        """`rgb` with the colours under alpha 0 filled smoothly from those that are seen. uint8 (H, W, 3)."""
        return self.rgb if self.alpha is None else fill_hidden(self.rgb, self.alpha)

    @property
    def metadata(self) -> dict[str, bytes | None]:
        """What stands beside the pixels, by the name of its field."""
        return {"icc": self.icc, "exif": self.exif, "xmp": self.xmp}


Loadable = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | np.ndarray | Image.Image


def load_picture(
    source: Loadable,
    max_pixels: int | None = MAX_PIXELS,
    *,
    name: str | None = None,
    info: Mapping[Any, Any] | None = None,
) -> Picture:
    """Read a picture from a path, bytes, a binary stream, a Pillow image (which stays as it is) or an array of pixels.

    Arrays are uint8: grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4).

    max_pixels: refuse more, before decoding them; None: no limit. name: how messages call it (the path by default).
    info: entries that stand in place of those in the `info` of a Pillow image (icc_profile, exif, xmp).
    Raises InputError (missing, empty, damaged, unknown, float samples), LimitError (too many pixels, or no memory).
    """
    name = name or (os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the picture")
    try:
        return _load(source, max_pixels, info or {})
    except JndcodecError as error:
        raise type(error)(f"{name}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder, not a picture") from error
    except PermissionError as error:
        raise InputError(f"{name}: no permission to read it") from error
    except OSError as error:
        if error.errno is None:  # not the system's, but Pillow's word for damage
            raise InputError(_damaged(name, error)) from error
        raise InputError(f"{name}: cannot be read ({error.strerror})") from error
    except MemoryError as error:
        raise LimitError(f"{name}: not enough memory to decode it; make it smaller first") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files: struct.error, KeyError, ...
        raise InputError(_damaged(name, error)) from error


def _damaged(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__  # some plugins explain themselves in paragraphs
    return f"{name}: damaged or cut short ({reason}); try to save it again with an editor"


def _load(source: Loadable, max_pixels: int | None, info: Mapping[Any, Any]) -> Picture:
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        check_size(*source.size, max_pixels)
        return _to_picture(Opened(source, load_opened(source)), {**source.info, **info})
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as stream:
            return _read(stream, max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _read(BytesIO(source), max_pixels)
    if not hasattr(source, "read"):
        raise InputError(f"{type(source).__name__} is none of a path, bytes, a binary stream, a Pillow image, an array")
    return _read(BytesIO(source.read()), max_pixels)


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        what = f"{pixels.dtype} {' x '.join(map(str, pixels.shape))}"
        raise InputError(f"an array of {what} is no picture: give uint8, height x width, or that x 3 (RGB) or 4 (RGBA)")
    if not pixels.size:
        raise InputError("has no pixels")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _read(stream: BinaryIO, max_pixels: int | None) -> Picture:
    opened = open_picture(stream, max_pixels)
    return _to_picture(opened, opened.image.info, stream)


def _to_picture(opened: Opened, info: Mapping[Any, Any], stream: BinaryIO | None = None) -> Picture:
    """info: what to take for the image's `info`; stream: the file, if it is at hand."""
    image, notes = opened.image, opened.notes
    frames = _frames(image)
    if frames > 1:
        notes.append(f"first of {frames} frames")
    metadata = read_metadata(image, info, stream)
    notes += metadata.notes
    converted = to_eight_bits(image, opened.stored, notes)
    if metadata.orientation in _UPRIGHT:
        converted = converted.transpose(_UPRIGHT[metadata.orientation])
    grey = converted.mode in ("L", "LA")
    icc = metadata.icc
    if image.mode in ("CMYK", "LAB"):
        icc = None  # used up: the pixels are sRGB now
    elif icc and icc_colour_space(icc) != ("GRAY" if grey else "RGB"):
        notes.append(f"its ICC profile is not one for {'grey' if grey else 'RGB'} pictures and is left out")
        icc = None
    elif not icc:
        icc, said = made_profile(image.format, info, metadata.exif, opened.code_points, grey)
        notes += said + unread_colours(getattr(image, "tag_v2", {}))
    alpha = np.array(converted.getchannel("A")) if converted.mode in ("LA", "RGBA") else None
    if grey:
        rgb = np.repeat(np.asarray(converted.getchannel("L"))[..., None], 3, axis=2)
    else:
        rgb = np.array(converted if converted.mode == "RGB" else converted.convert("RGB"))
    return Picture(rgb, grey, alpha, icc, metadata.exif, metadata.xmp, notes)


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
