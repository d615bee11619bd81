"""EXIF blocks: checked, and made fit for an upright picture.

A block is a TIFF structure without the JPEG prefix. It is edited in place: the gaps of entries that must not stay are
closed, and nothing else moves, so that maker notes and every offset stay valid.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from PIL.ExifTags import IFD, Base

from jndcodec.images.ifd import CHILDREN, LONG, Entry, Layout, entries, read_header, reader

PREFIX = b"Exif\x00\x00"  # what JPEG puts before the TIFF structure
# What a first directory says about the file that it came in: sizes, bits, compression, strips and tiles, colour tables,
# thumbnails and raw data elsewhere in that file, and XMP, IPTC, ICC, which have places of their own.
_OF_THE_FILE = (
    frozenset(range(254, 267))
    | frozenset({273, 277, 278, 279, 280, 281, 284, 286, 287, 288, 289, 290, 291, 292, 293, 297, 301})
    | frozenset(range(317, 348))
    | frozenset(range(400, 405))
    | frozenset(range(512, 533))
    | frozenset({559, 700, 32781, 33421, 33422, 33723, 34377, 34675, 34732, 37724})
    | frozenset(range(50706, 51200))  # DNG
)
_SIZE_TAGS = frozenset({Base.ExifImageWidth, Base.ExifImageHeight})  # in the Exif directory
_THUMBNAIL = ((513, 514), (273, 279))  # offset and length, as JPEG or as one strip


@dataclass(frozen=True)
class Cleaned:
    """block: None if nothing of it can be used. orientation: the one it asked for, 1 … 8. damaged: something was."""

    block: bytes | None
    orientation: int = 1
    damaged: bool = False

    @property
    def notes(self) -> list[str]:
        """A line where something was damaged."""
        return [
            f"{'damaged tags of its EXIF are' if self.block else 'its EXIF is damaged and'} left out"
        ] * self.damaged


def clean(block: bytes, *, keep_orientation: bool = True) -> Cleaned:
    """An EXIF block for an upright picture: orientation 1 or none, no tags that describe a file, no damaged ones.

    Where the orientation was another, the thumbnail goes too (it would lie on its side), and sizes that are swapped.
    """
    block = block.removeprefix(PREFIX)
    header = read_header(block[:8])
    if header is None or header[0].big:
        return Cleaned(None, damaged=bool(block))
    layout, first = header
    data = bytearray(block)
    orientation = _orientation(data, layout, first)
    cleaner = _Cleaner(data, layout, orientation, keep_orientation)
    kept = cleaner.directory(first, None)
    if kept:
        cleaner.thumbnail(first)
    return Cleaned(bytes(data) if kept else None, orientation, cleaner.damaged)


def _orientation(data: bytearray, layout: Layout, first: int) -> int:
    """Read from a directory that is cut short too: the picture should stand upright."""
    for entry in entries(reader(data), layout, first):
        if entry.tag == Base.Orientation and entry.kind in (1, 3, 4) and entry.count == 1:
            value = int.from_bytes(data[entry.at : entry.at + entry.size], "little" if layout.order == "<" else "big")
            return value if 1 <= value <= 8 else 1
    return 1


class _Cleaner:
    """One pass over a block, in place."""

    def __init__(self, data: bytearray, layout: Layout, orientation: int, keep_orientation: bool) -> None:
        self.data = data
        self.keep_orientation = keep_orientation
        self.layout = layout
        self.orientation = orientation
        self.damaged = False
        self._taken: list[range] = [range(8)]  # directories may not share bytes: none is cleaned through another

    def directory(self, at: int, parent: int | None) -> int:
        """Clean the directory at `at` and those below it; returns how many entries stay, 0 if it cannot be used."""
        found = list(entries(reader(self.data), self.layout, at))
        end = at + 2 + 12 * len(found)
        head = bytes(self.data[at : at + 2])
        count = struct.unpack(self.layout.order + "H", head)[0] if len(head) == 2 else 1
        span = range(at, end)  # the link to the next directory is not always there
        if len(found) < count or any(span.start < r.stop and r.start < span.stop for r in self._taken):
            self.damaged = True
            return 0
        self._taken.append(span)
        kept = [entry for entry in found if self._stays(entry, parent)]
        if len(kept) < len(found):
            rows = b"".join(bytes(self.data[entry.place : entry.place + 12]) for entry in kept)
            link = bytes(self.data[end : end + 4]) if parent is None else b""
            self.data[at:end] = (struct.pack(self.layout.order + "H", len(kept)) + rows + link).ljust(end - at, b"\0")
        return len(kept)

    def _stays(self, entry: Entry, parent: int | None) -> bool:
        if parent is None and entry.tag in _OF_THE_FILE:
            return False
        if parent == IFD.Exif and entry.tag in _SIZE_TAGS and self.orientation >= 5:
            return False
        sound = 0 < entry.size and entry.at + entry.size <= len(self.data)
        if parent is None and entry.tag == Base.Orientation:
            sound = sound and entry.kind in (1, 3, 4) and entry.count == 1
            if sound and self.keep_orientation:
                one = (1).to_bytes(entry.size, "little" if self.layout.order == "<" else "big")
                self.data[entry.at : entry.at + entry.size] = one
            else:
                return False
        elif sound and entry.tag in CHILDREN.get(parent, ()):
            sound = entry.kind in (LONG, 13) and entry.count == 1
            if sound and not self.directory(self._pointer(entry), entry.tag):
                return False
        self.damaged |= not sound
        return sound

    def _pointer(self, entry: Entry) -> int:
        return self.layout.offset(bytes(self.data[entry.at : entry.at + 4]))

    def thumbnail(self, first: int) -> None:
        """Take out the second directory where it is damaged, and with its picture where that lies on its side."""
        (count,) = struct.unpack_from(self.layout.order + "H", self.data, first)
        link = first + 2 + 12 * count
        if len(self.data) < link + 4:
            self.data += bytes(link + 4 - len(self.data))  # some writers leave the link out where it is 0
        second = self.layout.offset(bytes(self.data[link : link + 4]))
        if second == 0:
            return
        if self.orientation == 1 and self.directory(second, IFD.IFD1):
            return
        self.data[link : link + 4] = bytes(4)
        if self.orientation != 1:
            self._erase_thumbnail(second)

    def _erase_thumbnail(self, second: int) -> None:
        found = {entry.tag: entry for entry in entries(reader(self.data), self.layout, second)}
        for offset, length in _THUMBNAIL:
            if offset in found and length in found and found[offset].kind == found[length].kind == LONG:
                begin, size = self._pointer(found[offset]), self._pointer(found[length])
                span = range(begin, min(begin + size, len(self.data)))
                if any(span.start < r.stop and r.start < span.stop for r in self._taken):
                    continue  # damaged: it would erase what stays
                if span.stop == len(self.data):
                    del self.data[span.start :]
                else:
                    self.data[span.start : span.stop] = bytes(len(span))
