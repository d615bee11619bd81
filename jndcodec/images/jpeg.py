"""JPEG files as segments: what Pillow does not tell of them, and those that lack only their end marker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xCA)
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_PADDING = 4  # zero bytes in a row that no scan ends with
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in coded data: neither a stuffed zero nor a restart marker
# Appended to a scan that is cut short, both change the picture: they begin with different bits.
_GARBAGE = bytes(range(0x55, 0xB0)), bytes(range(0xB0, 0x55, -1))


@dataclass(frozen=True)
class Segment:
    """A marker and what stands under it, without its length; end: where it ends, with the coded data of a scan."""

    marker: int
    data: bytes
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """The segments up to the end marker, as far as they are there; coded data is passed over."""
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker == END[1]:
            return
        else:
            start, at = at + 4, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            body = data[start:at]
            if marker == _START_OF_SCAN:
                found = _NEXT_MARKER.search(data, at)
                at = found.start() if found else len(data)
            yield Segment(marker, body, at)


def lacks_end(data: bytes) -> bool:
    """Whether a JPEG file ends within a scan."""
    last = None
    for last in segments(data):  # noqa: B007 - the last one is what counts
        pass
    return last is not None and last.marker == _START_OF_SCAN and last.end >= len(data)


def with_end_marker(data: bytes, decode: Callable[[bytes], bytes]) -> bytes | None:
    """A JPEG file that ends within a scan, with an end marker; None if more than that is missing.

    decode: a whole file to its pixels. Bytes after the last block of a scan are ignored, those in place of missing
    blocks are not: so the picture is whole if it does not depend on them.
    """
    if not _all_scans(data):
        return None
    if data.endswith(bytes(_PADDING)):  # a file that was made at its full size and not filled
        data = data.rstrip(b"\0")
    data = data.removesuffix(END[:1])
    whole = data + END
    pixels = decode(whole)
    return whole if all(decode(data + garbage + END) == pixels for garbage in _GARBAGE) else None


def _all_scans(data: bytes) -> bool:
    """Whether scans are there for every component, and in progressive files for every coefficient to its last bit."""
    missing: set[tuple[int, int]] = {(-1, 0)}  # without a frame there is no picture
    progressive = False
    for segment in segments(data):
        body = segment.data
        if segment.marker in _FRAMES and len(body) > 6:
            progressive = segment.marker in _PROGRESSIVE
            missing = {(component, k) for component in body[6::3][: body[5]] for k in range(64)}
        elif segment.marker == _START_OF_SCAN and body and len(body) >= 2 * body[0] + 4:
            components = body[1 : 1 + 2 * body[0] : 2]
            first, last, bits = body[2 * body[0] + 1 : 2 * body[0] + 4] if progressive else (0, 63, 0)
            if bits & 15 == 0:  # the lowest bit that this scan brings
                missing -= {(component, k) for component in components for k in range(first, last + 1)}
    return not missing
