"""Picture files opened with Pillow: previews that are not the picture, and files that it does not know."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from jndcodec.container.jlc import MAGIC
from jndcodec.container.limits import pillow_limits
from jndcodec.errors import InputError, LimitError
from jndcodec.images.colours import code_points
from jndcodec.images.jpeg import lacks_end, with_end_marker
from jndcodec.images.pixels import Storage, storage
from jndcodec.images.png import read_chunks, read_key

_HEAD = 1 << 20  # enough of a file to hold the headers that are looked at
_SUBFILE_TYPE = 254  # TIFF tags
# that say: the pictures of this TIFF lie elsewhere in it (SubIFDs), or are a sensor's samples (CFA, DNG)
_RAW_TAGS = (330, 33421, 33422, 50706)


# the entry of an EXIF item: flags, number and protection stand between (ISO/IEC 14496-12, ItemInfoEntry, versions 2, 3)
_AVIF_EXIF = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)


@dataclass
class Opened:
    """The loaded first picture of a file, how it stores its samples, colours by H.273 code points, and notes."""

    image: Image.Image
    stored: Storage
    code_points: bytes = b""
    notes: list[str] = field(default_factory=list)


def open_picture(stream: BinaryIO, max_pixels: int | None) -> Opened:
    """Read the first picture of a file.

    stream: seekable. Raises InputError, LimitError, and whatever Pillow raises on damaged files.
    """
    head = stream.read(_HEAD)
    if not head:
        raise InputError("is empty (0 bytes)")
    if head.startswith(MAGIC):  # Pillow would open it where our plugin is registered
        raise InputError("is a .jlc file already; `jndcodec decode` makes a picture of it")
    stream.seek(0)
    notes: list[str] = []
    with pillow_limits:
        image = _identified(stream, head, notes)
        check_size(*image.size, max_pixels)
        _refuse_preview(image, head)
        chunks = read_chunks(stream) if image.format == "PNG" else {}
        stored = replace(storage(image, head), key=read_key(stream, chunks))
        if image.format in ("JPEG", "MPO"):
            image = _with_end_marker(image, stream, notes)
        image.load()
    return Opened(image, stored, code_points(image.format, head, chunks), notes)


def load_opened(image: Image.Image) -> Storage:
    """Load an image that Pillow opened before, and say how its file stores the samples, if it was not loaded yet."""
    with pillow_limits:
        stored = storage(image, b"")
        stream = getattr(image, "fp", None) if getattr(image, "tile", None) else None
        if image.format == "PNG" and stream is not None:
            stored = replace(stored, key=read_key(stream, read_chunks(stream)))
        image.load()
    return stored


def _identified(stream: BinaryIO, head: bytes, notes: list[str]) -> ImageFile.ImageFile:
    try:
        return Image.open(stream)
    except (UnidentifiedImageError, RuntimeError, ValueError) as error:
        if head[4:8] == b"ftyp" and _AVIF_EXIF.search(head):
            with suppress(UnidentifiedImageError, RuntimeError, ValueError):  # its EXIF under a name that nobody reads
                image = Image.open(BytesIO(_AVIF_EXIF.sub(rb"\1skip", head) + _rest(stream)))
                notes.append("its EXIF is damaged and left out")
                return image
        if "MAX_TEXT" in str(error):  # so Pillow says it of PNG
            raise InputError("has a text or an ICC profile of more than 64 MiB: save it without") from None
        if isinstance(error, UnidentifiedImageError):
            raise InputError(why_unknown(head)) from None
        raise


def _rest(stream: BinaryIO) -> bytes:
    """What stands behind the head."""
    stream.seek(_HEAD)
    return stream.read()


def _with_end_marker(image: ImageFile.ImageFile, stream: BinaryIO, notes: list[str]) -> ImageFile.ImageFile:
    """The same image of a JPEG file, or of a file with the end marker that it lacks. InputError if it lacks more."""
    before = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(before)
    if not lacks_end(data):
        return image
    whole = with_end_marker(data, lambda data: Image.open(BytesIO(data)).tobytes())
    if whole is None:
        raise InputError("is cut short; get it again, or save what an editor shows of it")
    notes.append("its end marker is missing; the picture is whole")
    return Image.open(BytesIO(whole))


def check_size(width: int, height: int, max_pixels: int | None) -> None:
    """Raise InputError for no pixels, LimitError for more than `max_pixels`."""
    if width < 1 or height < 1:
        raise InputError(f"has no pixels ({width}x{height})")
    if max_pixels is not None and width * height > max_pixels:
        raise LimitError(
            f"{width}x{height} is {width * height} pixels, more than the {max_pixels} allowed; raise --max-pixels"
        )


def _refuse_preview(image: Image.Image, head: bytes) -> None:
    """Raw files of cameras open as TIFF whose first picture is a small preview; other TIFFs may begin with one too."""
    if not isinstance(image, TiffImageFile):
        return
    reduced = image.tag_v2.get(_SUBFILE_TYPE, 0) == 1
    if head[8:10] == b"CR" or (reduced and (any(tag in image.tag_v2 for tag in _RAW_TAGS) or _larger_behind(image))):
        raise InputError("starts with a preview, as raw files of cameras do: develop it to PNG or JPEG first")


def _larger_behind(image: TiffImageFile) -> bool:
    """Whether a later picture of the file has more pixels than the first."""
    first = image.size
    try:
        for frame in range(1, image.n_frames):
            image.seek(frame)
            if image.width * image.height > first[0] * first[1]:
                return True
    except Exception:  # a later picture is damaged: the first one is all there is
        pass
    image.seek(0)
    return False


def why_unknown(head: bytes) -> str:
    """What to do about a file that Pillow does not know, by its first bytes."""
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "is HEIC, which is not read: convert it to PNG or JPEG first"
    if head[:2] == b"\xff\x0a" or head[4:8] == b"JXL ":
        return "is JPEG XL, which is not read: convert it to PNG first (djxl)"
    return "not a picture of a known format (PNG, JPEG, WebP, AVIF, TIFF, ... are), or its header is damaged"
