"""Single tags of EXIF blocks: read, added, and moved from and to TIFF files."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import BinaryIO

from PIL.ExifTags import Base

from jndcodec.images.exif import Cleaned, clean
from jndcodec.images.ifd import Tags, add_tags, read_header, read_tags, reader, write_directory

# What a first directory says about the picture. All else in it says how a file stores its pixels, or is private to a
# program: in a TIFF file it would be taken for the file's own.
DESCRIPTIVE = frozenset(
    {
        Base.DocumentName,
        Base.ImageDescription,
        Base.Make,
        Base.Model,
        Base.XResolution,
        Base.YResolution,
        Base.PageName,
        Base.ResolutionUnit,
        Base.Software,
        Base.DateTime,
        Base.Artist,
        Base.HostComputer,
        Base.Rating,
        Base.RatingPercent,
        Base.Copyright,
        Base.XPTitle,
        Base.XPComment,
        Base.XPAuthor,
        Base.XPKeywords,
        Base.XPSubject,
    }
)
_TEXT = 2
_RATIONAL = 5
_TEXTS = {0x10D, 0x10E, 0x10F, 0x110, 0x11D, 0x131, 0x132, 0x13B, 0x13C, 0x8298}
_SCREEN = (0, 1, 72, 96)  # resolutions that programs write when they know none
_MAX_DPI = 1 << 16  # JPEG has 16 bits for it
_INCH, _CENTIMETRE = 2, 3


def value_of(block: bytes | None, tag: int, *path: int) -> bytes | None:
    """The bytes of a tag's value, below the directories under the pointers in `path`; None if it is not there."""
    header = read_header((block or b"")[:8])
    if block is None or header is None:
        return None
    tags, _ = read_tags(reader(block), *header, {tag} if not path else ())
    for pointer in path:
        tags = tags.get(pointer, {})
    return tags[tag][2] if tag in tags else None


def resolution(block: bytes | None) -> tuple[float, float] | None:
    """Pixels per inch, across and down; None where it is not said, or only as programs do that know none."""
    header = read_header((block or b"")[:8])
    if block is None or header is None:
        return None
    tags, _ = read_tags(reader(block), *header, {Base.XResolution, Base.YResolution, Base.ResolutionUnit})
    order = header[0].order
    try:
        x, y = (
            numerator / denominator
            for tag in (Base.XResolution, Base.YResolution)
            for numerator, denominator in [struct.unpack(order + "II", tags[tag][2])]
        )
        (unit,) = struct.unpack(order + "H", tags[Base.ResolutionUnit][2]) if Base.ResolutionUnit in tags else (_INCH,)
    except (KeyError, struct.error, ZeroDivisionError):
        return None
    scale = {_INCH: 1, _CENTIMETRE: 2.54}.get(unit, 0)
    dpi = x * scale, y * scale
    return dpi if _says_something(dpi) else None


def with_resolution(block: bytes | None, dpi: tuple[float, float]) -> bytes | None:
    """The block with a resolution (pixels per inch), if it has none and this one says something."""
    if not _says_something(dpi) or value_of(block, Base.XResolution):
        return block
    values = [struct.pack("<II", round(value * 1000), 1000) for value in dpi]
    unit = struct.pack("<H", _INCH)
    tags: Tags = {
        Base.XResolution: (_RATIONAL, 1, values[0]),
        Base.YResolution: (_RATIONAL, 1, values[1]),
        Base.ResolutionUnit: (3, 1, unit),
    }
    stream = BytesIO(block or b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    add_tags(stream, tags, "<")
    return stream.getvalue()


def _says_something(dpi: tuple[float, float]) -> bool:
    return all(0 < value < _MAX_DPI and round(value) not in _SCREEN for value in dpi)


def of_tiff(stream: BinaryIO) -> Cleaned:
    """The EXIF block of a TIFF file, made from its own tags, without the orientation (Pillow turns TIFF upright)."""
    read = reader(stream)
    header = read_header(read(0, 16))
    if header is None:
        return Cleaned(None, damaged=True)
    layout, first = header
    tags, damaged = read_tags(read, layout, first, DESCRIPTIVE)
    if not tags:
        return Cleaned(None, damaged=damaged)
    order = layout.order
    body, begin = write_directory(order, tags, 8, order)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    cleaned = clean(magic + struct.pack(order + "I", begin) + body)
    return Cleaned(cleaned.block, 1, damaged or cleaned.damaged)


def into_tiff(stream: BinaryIO, block: bytes) -> None:
    """Add the descriptive tags of a cleaned block to a TIFF file that was just written (classic, one picture)."""
    header = read_header(block[:8])
    if header is None:
        return
    tags, _ = read_tags(reader(block), *header, DESCRIPTIVE)
    add_tags(
        stream,
        {tag: value for tag, value in tags.items() if isinstance(value, dict) or _as_defined(tag, *value)},
        header[0].order,
    )


def _as_defined(tag: int, kind: int, count: int, data: bytes) -> bool:
    """Whether a tag has the type that TIFF defines for it: readers of TIFF rely on it, those of EXIF do not."""
    if tag in _TEXTS:
        return kind == _TEXT
    if tag in (Base.XResolution, Base.YResolution):
        return kind == _RATIONAL and count == 1 and any(data[:4]) and any(data[4:])
    if tag in (Base.ResolutionUnit, Base.Rating, Base.RatingPercent):
        return kind == 3 and count == 1
    return kind == 1
