"""Directories of TIFF structures (TIFF 6.0, section 2; BigTIFF; EXIF blocks), read and written as they stand.

A value keeps its type and its bytes, so that nothing is lost or guessed on the way from one structure to another.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL.ExifTags import IFD

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNITS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4}  # bytes that a change of byte order turns round
LONG = 4
_MAX_ENTRIES = 65535
_MAX_VALUES = 1 << 26  # bytes of values read from one directory: entries may all point to the same bytes
_POINTERS = (4, 13, 18)  # types of a pointer to a directory
# Which tags of a directory point to another one; None is the first directory.
CHILDREN: dict[int | None, frozenset[int]] = {
    None: frozenset({IFD.Exif, IFD.GPSInfo}),
    IFD.Exif: frozenset({IFD.Interop}),
}
Read = Callable[[int, int], bytes]  # (position, count) -> bytes, fewer at the end
Tags = dict[int, Any]  # tag: (type, count, bytes of the value), or the Tags of a directory under its pointer


@dataclass(frozen=True)
class Layout:
    """Byte order ("<" or ">") and sizes: of BigTIFF, or of TIFF and EXIF."""

    order: str
    big: bool = False

    @property
    def inline(self) -> int:
        """Bytes of a value that fit into its entry."""
        return 8 if self.big else 4

    @property
    def entry(self) -> int:
        """Bytes of an entry."""
        return 20 if self.big else 12

    @property
    def head(self) -> int:
        """Bytes of the number of entries that a directory begins with."""
        return 8 if self.big else 2

    def offset(self, data: bytes) -> int:
        """A pointer. struct.error if it is cut short."""
        return int(struct.unpack(self.order + ("Q" if self.big else "I"), data)[0])


@dataclass(frozen=True)
class Entry:
    """One entry: where it stands, and where its value does."""

    place: int
    tag: int
    kind: int
    count: int
    at: int

    @property
    def size(self) -> int:
        """Bytes of the value; 0 for a type that TIFF does not know."""
        return SIZES.get(self.kind, 0) * self.count


def reader(source: bytes | bytearray | BinaryIO) -> Read:
    """How the other functions read bytes or a seekable stream; a damaged pointer beyond them gives nothing."""
    if isinstance(source, (bytes, bytearray)):
        return lambda at, count: bytes(source[at : at + count])

    def read(at: int, count: int) -> bytes:
        try:
            source.seek(at)
            return source.read(count)
        except (OverflowError, OSError, ValueError):
            return b""

    return read


def read_header(head: bytes) -> tuple[Layout, int] | None:
    """Layout, and where the first directory stands; None if the first 16 bytes are no header."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    (magic,) = struct.unpack_from(order + "H", head, 2)
    layout = Layout(order, big=magic == 43)
    if magic not in (42, 43) or (layout.big and len(head) < 16):
        return None
    return layout, layout.offset(head[8:16] if layout.big else head[4:8])


def entries(read: Read, layout: Layout, at: int) -> Iterator[Entry]:
    """The entries of the directory at `at`, as far as they are there."""
    head = read(at, layout.head)
    if len(head) < layout.head:
        return
    (count,) = struct.unpack(layout.order + ("Q" if layout.big else "H"), head)
    first = at + layout.head
    for place in range(first, first + min(count, _MAX_ENTRIES) * layout.entry, layout.entry):
        raw = read(place, layout.entry)
        if len(raw) < layout.entry:
            return
        tag, kind, values = struct.unpack_from(layout.order + ("HHQ" if layout.big else "HHI"), raw)
        field = place + layout.entry - layout.inline
        size = SIZES.get(kind, 0) * values
        yield Entry(place, tag, kind, values, field if size <= layout.inline else layout.offset(raw[-layout.inline :]))


def read_tags(
    read: Read, layout: Layout, at: int, wanted: Container[int], parent: int | None = None
) -> tuple[Tags, bool]:
    """The `wanted` tags of the directory at `at` with all of those it points to, and whether some were damaged."""
    tags: Tags = {}
    damaged, total = False, 0
    for entry in entries(read, layout, at):
        if entry.tag not in wanted and entry.tag not in CHILDREN.get(parent, ()):
            continue
        total += entry.size
        data = read(entry.at, entry.size) if 0 < entry.size and total <= _MAX_VALUES else b""
        if not data or len(data) < entry.size:
            damaged = True
        elif entry.tag in CHILDREN.get(parent, ()):
            if entry.kind in _POINTERS and entry.count == 1:
                pointer = int.from_bytes(data, "little" if layout.order == "<" else "big")
                child, broken = read_tags(read, layout, pointer, range(1 << 16), entry.tag)
                damaged |= broken or not child
                if child:
                    tags[entry.tag] = child
            else:
                damaged = True
        elif entry.kind in _UNITS or entry.kind in (1, 2, 6, 7):  # the 8-byte types of BigTIFF fit nowhere else
            tags[entry.tag] = (entry.kind, entry.count, data)
    return tags, damaged


def write_directory(
    order: str, tags: Tags, at: int, source: str, old: dict[int, bytes] | None = None, link: bytes = bytes(4)
) -> tuple[bytes, int]:
    """A directory with its values and those below it: the bytes to put at `at` (even), and where it begins.

    order: the byte order to write; source: that of the values in `tags`. old: 12-byte entries that it holds already, in
    the order to write, which win; link: the pointer to the next directory.
    """
    out = bytearray()
    rows = {}
    for tag, value in sorted(tags.items()):
        if isinstance(value, dict):
            body, begin = write_directory(order, value, at + len(out), source)
            out += body
            kind, count, data = LONG, 1, struct.pack(order + "I", begin)
        else:
            kind, count, data = value
            if order != source and kind in _UNITS:
                unit = _UNITS[kind]
                data = b"".join(data[i : i + unit][::-1] for i in range(0, len(data), unit))
        if len(data) > 4:
            field = struct.pack(order + "I", at + len(out))
            out += data + bytes(len(data) % 2)
        else:
            field = data.ljust(4, b"\0")
        rows[tag] = struct.pack(order + "HHI", tag, kind, count) + field
    rows |= old or {}
    begin = at + len(out)
    out += struct.pack(order + "H", len(rows)) + b"".join(rows[tag] for tag in sorted(rows)) + link
    return bytes(out), begin


def add_tags(file: BinaryIO, tags: Tags, source: str) -> None:
    """Add tags to the first directory of a TIFF structure, in place; tags that it has stay as they are.

    The directory is written anew at the end, so that nothing else moves. source: the byte order of `tags`.
    Nothing happens to BigTIFF, or to what is no TIFF structure.
    """
    read = reader(file)
    header = read_header(read(0, 8))
    if header is None or header[0].big:
        return
    layout, first = header
    found = list(entries(read, layout, first))
    old = {entry.tag: read(entry.place, 12) for entry in found}
    link = read(first + 2 + 12 * len(found), 4).ljust(4, b"\0")
    end = file.seek(0, 2)
    body, begin = write_directory(layout.order, tags, end + end % 2, source, old, link)
    file.write(bytes(end % 2) + body)
    file.seek(4)
    file.write(struct.pack(layout.order + "I", begin))
    file.seek(0, 2)
