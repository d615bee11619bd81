"""XMP packets: their orientation, and the extended part that JPEG needs for long ones (XMP part 3, 1.1.3.1)."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable
from xml.parsers import expat

MARKER = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
SEGMENT = 65533  # bytes of a JPEG segment after its length
_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))[2-8]")
_EXTENDED = re.compile(rb"""\s*xmpNote:HasExtendedXMP\s*=\s*["']([0-9A-Fa-f]{32})["']""")
_RDF = re.compile(rb"<rdf:RDF((?:\s[^>]*)?)>(.*)</rdf:RDF\s*>", re.DOTALL)
_NAMESPACE = re.compile(rb"""\sxmlns:([\w.-]+)\s*=\s*("[^"]*"|'[^']*')""")


def reset_orientation(xmp: bytes) -> bytes:
    """The same packet with `tiff:Orientation` set to 1, for a picture that has been turned upright."""
    return _ORIENTATION.sub(rb"\g<1>1", xmp)


def join(xmp: bytes, segments: Iterable[bytes]) -> bytes | None:
    """A packet with its extended part, which `segments` (JPEG's APP1, without length) hold, joined to it.

    The packet itself where it has no extended part; None where that part is missing or damaged.
    """
    found = _EXTENDED.search(xmp)
    if found is None:
        return xmp
    parts = {}
    for segment in segments:
        if segment.startswith(EXTENSION + found[1]) and len(segment) > len(EXTENSION) + 40:
            total, at = struct.unpack_from(">II", segment, len(EXTENSION) + 32)
            parts[at] = segment[len(EXTENSION) + 40 :]
    whole = b""
    for at, part in sorted(parts.items()):
        if at != len(whole):
            return None
        whole += part
    more, main = _RDF.search(whole), _RDF.search(xmp)
    if not parts or len(whole) != total or more is None or main is None:
        return None
    known = dict(_NAMESPACE.findall(main[1]))
    names = b"".join(b" xmlns:%s=%s" % name for name in _NAMESPACE.findall(more[1]) if name[0] not in known)
    joined = xmp[: main.start(1)] + main[1] + names + b">" + main[2] + more[2] + xmp[main.end(2) :]
    joined = _EXTENDED.sub(b"", joined)
    return joined if _well_formed(joined) else None


def split(xmp: bytes) -> list[bytes]:
    """A long packet as JPEG segments (APP1, without length): a short one, and the extended part that it points to."""
    found = re.search(rb"<x:xmpmeta.*</x:xmpmeta\s*>", xmp, re.DOTALL)
    whole = found[0] if found else xmp
    digest = hashlib.md5(whole, usedforsecurity=False).hexdigest().upper().encode()
    short = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
        b'xmpNote:HasExtendedXMP="' + digest + b'"/></rdf:RDF></x:xmpmeta>'
    )
    size = SEGMENT - len(EXTENSION) - 40
    head = EXTENSION + digest + struct.pack(">I", len(whole))
    return [MARKER + short] + [
        head + struct.pack(">I", at) + whole[at : at + size] for at in range(0, len(whole), size)
    ]


def _well_formed(xmp: bytes) -> bool:
    parser = expat.ParserCreate(namespace_separator=" ")
    try:
        parser.Parse(xmp, True)
    except (expat.ExpatError, ValueError):
        return False
    return True
