"""What every coding begins and ends with, and the whole of lossless ones, which need no model and no torch."""

from __future__ import annotations

import os
import warnings
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from jndcodec.container.jlc import MAX_SIDE, Jlc, Section
from jndcodec.container.lossless import unpack_lossless
from jndcodec.container.sections import pack_extras, unpack_metadata
from jndcodec.effort import level_of
from jndcodec.errors import InputError, LimitError
from jndcodec.images.loading import MAX_PIXELS, Loadable, Picture, load_picture, picture_to_image
from jndcodec.model.interface import Progress, silent
from jndcodec.rate.exact import ExactFile
from jndcodec.rate.goal import Goal

Source = Loadable | Picture
Encoded = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
DEFAULT_EFFORT = 3


def encode_lossless(
    image: Source,
    *,
    effort: int = DEFAULT_EFFORT,
    strip: bool = False,
    keep_hidden: bool = False,
    verify: bool = False,
    max_pixels: int | None = MAX_PIXELS,
    progress: Progress = silent,
    **goal: Any,
) -> bytes:
    """`Codec.encode` with lossless=True: no model is needed, nor torch. TargetError where there is a target."""
    Goal(**goal).refuse_for("a lossless file")
    exact = exact_file(image if isinstance(image, Picture) else load(image, max_pixels), effort, strip, keep_hidden)
    progress(0.05)
    data = exact.data
    if verify:
        exact.check()
    progress(1.0)
    return data


def as_bytes(source: Encoded) -> bytes:
    """The bytes of a .jlc file: these themselves, or those of a path or a binary stream. InputError."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    try:
        if isinstance(source, (str, os.PathLike)):
            with open(source, "rb") as stream:
                return stream.read()
        return source.read()
    except AttributeError:
        raise InputError(f"{type(source).__name__} is none of bytes, a path or a binary stream") from None
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from error


def decode_lossless(jlc: Jlc, max_pixels: int | None = MAX_PIXELS) -> Image.Image:
    """The picture of a lossless file. FormatError, LimitError."""
    check_pixels(jlc, max_pixels)
    rgb, alpha = unpack_lossless(jlc.sections[Section.LOSSLESS], (jlc.height, jlc.width))
    return as_image(jlc, rgb, alpha)


def exact_file(picture: Picture, effort: int, strip: bool, keep_hidden: bool) -> ExactFile:
    """The lossless file of a picture, not made yet. ArgumentError for the effort, LimitError."""
    level_of(effort)  # or ArgumentError
    check_sides(picture)
    metadata = pack_extras(None, picture.metadata, strip)
    return ExactFile(picture.rgb, picture.alpha, picture.grey, metadata, effort, keep_hidden)


def load(image: Loadable, max_pixels: int | None) -> Picture:
    """Nothing is converted in silence: what loading had to change becomes a warning."""
    picture = load_picture(image, max_pixels)
    for note in picture.notes:
        warnings.warn(note, stacklevel=3)
    return picture


def tell(notes: list[str], image: Source) -> None:
    """Notes on a result, to who asked for it."""
    if isinstance(image, Picture):
        image.notes += notes
    else:
        for note in notes:
            warnings.warn(note, stacklevel=3)


def check_sides(picture: Picture) -> None:
    """LimitError where the format cannot say the size."""
    if (side := max(picture.width, picture.height)) > MAX_SIDE:
        raise LimitError(f"a side of {side} pixels is over the format's {MAX_SIDE}: cut the picture")


def check_pixels(jlc: Jlc, max_pixels: int | None) -> None:
    """LimitError where there are more. Padding counts where a model decodes: one row takes the memory of 16."""
    step = 1
    if not jlc.lossless:
        from jndcodec.model.grid import STRIDE_Y as step
    padded = -(-jlc.width // step) * -(-jlc.height // step) * step**2
    if max_pixels is not None and padded > max(max_pixels, step**2):
        raise LimitError(f"{jlc.width} x {jlc.height} is over the limit of {max_pixels} pixels: raise --max-pixels")


def as_image(jlc: Jlc, rgb: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """Decoded pixels, uint8 (H, W, 3) and (H, W), with the file's metadata. FormatError."""
    found = unpack_metadata(jlc.sections)
    return picture_to_image(Picture(rgb, jlc.grey, alpha, found.get("icc"), found.get("exif"), found.get("xmp")))
