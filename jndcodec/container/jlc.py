"""The .jlc container, version 1. docs/FORMAT.md describes it; this module packs and parses it, without torch.

    magic 4 │ version 1 │ flags 1 │ model id 8 │ width varint │ height varint │ t u16
    │ sections … │ symbols CRC 4 │ file CRC 4

A lossless file (flag bit 2) needs no model: it has no model id, no t and no symbols CRC.

A section is: type u8, length varint, bytes. Types below 0x80 are critical (a reader that does not know one must
refuse), those from 0x80 up may be skipped. Integers are little-endian; varints are LEB128.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from jndcodec.errors import FormatError, VersionError

MAGIC = b"\x8aJLC"  # the first byte is no text and not UTF-8: a file mangled as text is recognised
VERSION = 1
MAX_SIDE = 1 << 20
MAX_METADATA = 1 << 26  # bytes of a block of metadata, before it is deflated
MAX_VARINT = 5  # bytes: 35 bits
_CRC = struct.Struct("<I")
_FIXED = struct.Struct("<4sBB")
_T = struct.Struct("<H")
_ID = 8  # bytes of a model id
NO_MODEL = bytes(_ID)  # in memory, of a lossless file
OPTIONAL = 0x80
VP8L_ALPHA_AT, VP8L_ALPHA = 4, 0x10  # the bit of a VP8L header that says that there is alpha
_CUT = "damaged .jlc file: cut short; get the file again"


class Section(IntEnum):
    """Section types."""

    Z = 0x01
    Y = 0x02
    ALPHA = 0x03
    LOSSLESS = 0x04
    ICC = 0x80
    EXIF = 0x81
    XMP = 0x82


CRITICAL = frozenset(int(kind) for kind in Section if kind < OPTIONAL)


class Flags(IntFlag):
    """GREY: the picture has one colour channel. FLOAT_ENTROPY: the tables depended on float arithmetic (zoo models).
    LOSSLESS: the section of that name has the whole picture, alpha too."""

    NONE = 0
    GREY = 1
    FLOAT_ENTROPY = 2
    LOSSLESS = 4


KNOWN_FLAGS = int(Flags.GREY | Flags.FLOAT_ENTROPY | Flags.LOSSLESS)


@dataclass
class Jlc:
    """A .jlc file in memory. `t` is the rate knob, 0 … 65535; `symbols_crc` is the CRC-32 of the coded symbols.

    Of a lossless file these two are 0, and `model_id` is NO_MODEL.
    """

    model_id: bytes
    width: int
    height: int
    t: int
    symbols_crc: int
    flags: Flags = Flags.NONE
    sections: dict[int, bytes] = field(default_factory=dict)

    @property
    def grey(self) -> bool:
        return bool(self.flags & Flags.GREY)

    @property
    def lossless(self) -> bool:
        return bool(self.flags & Flags.LOSSLESS)

    @property
    def alpha(self) -> bool:
        """Whether the picture has alpha. A lossless one says it itself, in its VP8L header or as a PNG of type RGBA."""
        if not self.lossless:
            return Section.ALPHA in self.sections
        head = self.sections[Section.LOSSLESS][:26]
        if head.startswith(b"\x89"):
            return head.endswith(b"\x06")
        return len(head) > VP8L_ALPHA_AT and bool(head[VP8L_ALPHA_AT] & VP8L_ALPHA)

    @property
    def exact(self) -> bool:
        """Whether integers alone decided the symbols, so that the file decodes to the same ones on every machine."""
        return not self.flags & Flags.FLOAT_ENTROPY

    def pack(self) -> bytes:
        """The bytes of the file."""
        model_id, t, symbols_crc = self.model_id, _T.pack(self.t), _CRC.pack(self.symbols_crc)
        if self.lossless:
            model_id = t = symbols_crc = b""
        parts = [
            _FIXED.pack(MAGIC, VERSION, int(self.flags)),
            model_id,
            varint(self.width),
            varint(self.height),
            t,
        ]
        for kind, payload in self.sections.items():
            parts += [bytes([kind]), varint(len(payload)), payload]
        parts.append(symbols_crc)
        body = b"".join(parts)
        return body + _CRC.pack(zlib.crc32(body))


def varint(value: int) -> bytes:
    """LEB128: 7 bits a byte, the lowest first, the top bit set on all but the last."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, next position). FormatError where it does not end before `end` or takes more than 5 bytes."""
    value = 0
    for i in range(MAX_VARINT):
        if at + i >= end:
            break
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value, at + i + 1
    raise FormatError("damaged .jlc file: a length does not end; get the file again")


def parse(data: bytes) -> Jlc:
    """Read and check a whole file. FormatError if damaged, VersionError if newer than this program."""
    if not data:
        raise FormatError("empty file, not a .jlc file; get the file again")
    if data[:4] != MAGIC:
        raise FormatError("not a .jlc file: it does not start with the .jlc signature")
    if len(data) > 4 and data[4] != VERSION:
        raise VersionError(f"this file has format version {data[4]}, this program reads version {VERSION}: upgrade it")
    if len(data) < _FIXED.size + 2 + _CRC.size:
        raise FormatError(_CUT)
    if zlib.crc32(data[:-4]) != _CRC.unpack(data[-4:])[0]:
        raise FormatError("damaged .jlc file: its checksum is wrong (cut short or changed); get the file again")
    _, _, bits = _FIXED.unpack_from(data)
    if bits & ~KNOWN_FLAGS:
        raise VersionError(f"this file uses features (flags {bits:#x}) that this program does not know: upgrade it")
    flags = Flags(bits)
    lossless = Flags.LOSSLESS in flags
    at, end = _FIXED.size, len(data) - _CRC.size * (1 if lossless else 2)
    model_id, t, symbols_crc = NO_MODEL, 0, 0
    if not lossless:
        model_id, at = data[at : at + _ID], at + _ID
    width, at = read_varint(data, at, end)
    height, at = read_varint(data, at, end)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise FormatError(f"damaged .jlc file: impossible size {width} x {height}")
    if not lossless:
        if at + _T.size > end:
            raise FormatError(_CUT)
        (t,), at = _T.unpack_from(data, at), at + _T.size
        (symbols_crc,) = _CRC.unpack_from(data, end)
    sections = _parse_sections(data, at, end)
    for kind in (Section.LOSSLESS,) if lossless else (Section.Z, Section.Y):
        if kind not in sections:
            raise FormatError(f"damaged .jlc file: section {kind.name} is missing")
    return Jlc(model_id, width, height, t, symbols_crc, flags, sections)


def _parse_sections(data: bytes, at: int, end: int) -> dict[int, bytes]:
    sections: dict[int, bytes] = {}
    while at < end:
        kind = data[at]
        length, at = read_varint(data, at + 1, end)
        if length > end - at:
            raise FormatError("damaged .jlc file: a section is longer than the file")
        if kind in sections:
            raise FormatError(f"damaged .jlc file: section {kind:#x} stands twice")
        if kind < OPTIONAL and kind not in CRITICAL:
            raise VersionError(f"this file needs a feature (section {kind:#x}) unknown to this program: upgrade it")
        sections[kind] = data[at : at + length]
        at += length
    return sections
