"""The container: round trip, overhead, and every kind of damage."""

from __future__ import annotations

import zlib

import pytest

from jndcodec.container.jlc import MAGIC, NO_MODEL, Flags, Jlc, Section, parse, read_varint, varint
from jndcodec.errors import FormatError, JndcodecError, VersionError

ID = bytes(range(8))


def small() -> Jlc:
    return Jlc(ID, 768, 512, 33000, 0xDEADBEEF, Flags.GREY, {Section.Z: b"zz", Section.Y: b"y" * 300})


def with_crc(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_round_trip() -> None:
    jlc = small()
    jlc.sections[Section.ICC] = b"profile"
    assert parse(jlc.pack()) == jlc


def test_overhead_without_metadata_is_at_most_40_bytes() -> None:
    jlc = small()
    jlc.sections = {Section.Z: b"z" * 600, Section.Y: b"y" * 100_000}
    jlc.width = jlc.height = 6000
    assert len(jlc.pack()) - 100_600 <= 40


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**21, 2**32])
def test_varint(value: int) -> None:
    data = varint(value)
    assert read_varint(data, 0, len(data)) == (value, len(data))


def test_varint_that_does_not_end() -> None:
    with pytest.raises(FormatError):
        read_varint(b"\x80" * 9, 0, 9)


def test_cut_at_every_byte() -> None:
    data = small().pack()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            parse(data[:length])


def test_every_flipped_bit_is_noticed() -> None:
    data = small().pack()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(JndcodecError):
            parse(bytes(damaged))


def test_trailing_bytes_are_noticed() -> None:
    with pytest.raises(FormatError):
        parse(small().pack() + b"\0")


def test_other_version() -> None:
    data = bytearray(small().pack())
    data[4] = 2
    with pytest.raises(VersionError, match="version 2"):
        parse(bytes(data))


def test_unknown_optional_section_is_kept_and_unknown_critical_one_refused() -> None:
    jlc = small()
    jlc.sections[0xF0] = b"from the future"
    assert parse(jlc.pack()).sections[0xF0] == b"from the future"
    jlc.sections[0x70] = b"needed"
    with pytest.raises(VersionError, match="0x70"):
        parse(jlc.pack())


def test_unknown_flags_are_refused() -> None:
    body = bytearray(small().pack()[:-4])
    body[5] |= 0x40
    with pytest.raises(VersionError):
        parse(with_crc(bytes(body)))


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (1 << 21, 1), (1, 1 << 34)])
def test_impossible_sizes(width: int, height: int) -> None:
    jlc = small()
    jlc.width, jlc.height = width, height
    with pytest.raises(FormatError):
        parse(jlc.pack())


def test_missing_and_doubled_sections() -> None:
    jlc = small()
    del jlc.sections[Section.Y]
    with pytest.raises(FormatError, match="Y is missing"):
        parse(jlc.pack())
    body = small().pack()[:-8] + bytes([Section.Z, 1, 0]) + bytes(4)
    with pytest.raises(FormatError, match="twice"):
        parse(with_crc(body))


def test_section_longer_than_the_file() -> None:
    body = small().pack()[:-8] + bytes([Section.ICC, 100, 0]) + bytes(4)
    with pytest.raises(FormatError, match="longer"):
        parse(with_crc(body))


@pytest.mark.parametrize("data", [b"", b"JPEG", MAGIC, b"\x89PNG" + bytes(50)])
def test_not_a_jlc(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse(data)


def lossless(payload: bytes = b"picture") -> Jlc:
    return Jlc(NO_MODEL, 300, 2, 0, 0, Flags.LOSSLESS, {Section.LOSSLESS: payload})


def test_lossless_file_has_no_model_id_t_or_symbols_crc() -> None:
    data = lossless().pack()
    assert data == with_crc(MAGIC + b"\x01\x04" + varint(300) + varint(2) + b"\x04\x07picture")
    assert parse(data) == lossless() and parse(data).lossless and not small().lossless


def test_lossless_file_cut_or_changed() -> None:
    data = lossless().pack()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            parse(data[:length])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(JndcodecError):
            parse(bytes(damaged))


def test_lossless_file_without_its_section_and_a_coded_one_without_z() -> None:
    jlc = lossless()
    jlc.sections = {Section.Z: b"", Section.Y: b""}
    with pytest.raises(FormatError, match="LOSSLESS is missing"):
        parse(jlc.pack())
    jlc = small()
    jlc.sections = {Section.LOSSLESS: b""}
    with pytest.raises(FormatError, match="Z is missing"):
        parse(jlc.pack())


@pytest.mark.parametrize(
    ("payload", "alpha"),
    [(b"\x2f\0\0\0\x10", True), (b"\x2f\0\0\0\0", False), (b"\x89PNG" + bytes(21) + b"\x06", True), (b"", False)],
)
def test_a_lossless_picture_says_itself_whether_it_has_alpha(payload: bytes, alpha: bool) -> None:
    assert lossless(payload).alpha is alpha
