"""Whatever is wrong with the input: one clear line, its own exit code, nothing left behind."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run, tree, write_png
from PIL import Image

import jndcodec
from jndcodec import errors
from jndcodec.codec import Codec
from jndcodec.container.jlc import MAGIC, Flags, Jlc, Section, parse
from jndcodec.errors import FormatError, JndcodecError, LimitError, VersionError


@pytest.fixture(scope="module")
def codec(tiny_weights: Path) -> Codec:
    return Codec(weights=tiny_weights)


@pytest.fixture(scope="module")
def data(photo, codec: Codec) -> bytes:
    """A file with every kind of section."""
    image = Image.fromarray(np.dstack([photo(48, 40), photo(48, 40)[..., :1]]))
    image.info["xmp"] = b"<x/>" * 9
    return codec.encode(image)


def with_checksum(body: bytes) -> bytes:
    """The file with its last checksum made right, so that what comes before is looked at."""
    return body[:-4] + struct.pack("<I", zlib.crc32(body[:-4]))


# --- exit codes ---


def test_every_error_has_an_exit_code_of_its_own() -> None:
    family = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, JndcodecError)]
    codes = [error.exit_code for error in family]
    assert len(set(codes)) == len(codes) and 0 not in codes and issubclass(JndcodecError, ValueError)
    assert errors.ArgumentError.exit_code == 2  # as click's own for a senseless command line


def test_exit_codes_and_single_lines(tmp_path: Path, photo, data: bytes, tiny_weights: Path) -> None:
    good = write_png(tmp_path / "good.png", photo(40, 40))
    files = {
        "zero.png": b"",
        "text.png": b"hello",
        "cut.png": good.read_bytes()[:300],
        "zero2.jlc": b"",
        "text2.jlc": b"hello",
        "cut2.jlc": data[:100],
        "version.jlc": with_checksum(data[:4] + b"\x09" + data[5:]),
        "model.jlc": with_checksum(data[:6] + b"01234567" + data[14:]),
        "good.jlc": data,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    for arguments, code in [
        (("encode", "none.png"), 3),
        (("encode", "empty"), 3),
        (("encode", "zero.png"), 3),
        (("encode", "text.png"), 3),
        (("encode", "cut.png"), 3),
        (("encode", "good.jlc"), 3),
        (("encode", "good.png", "-o", "new.jlc", "--max-pixels", "1599"), 10),
        (("encode", "good.png", "-o", str(tmp_path / "good.jlc")), 8),  # it is there
        (("encode", "good.png", "-o", "new.jlc", "--size", "9"), 9),
        (("decode", "none.jlc"), 3),
        (("decode", "empty"), 3),
        (("decode", "zero2.jlc"), 4),
        (("decode", "text2.jlc"), 4),
        (("decode", "good.png", "-o", "new.png"), 4),
        (("decode", "cut2.jlc"), 4),
        (("decode", "version.jlc"), 5),
        (("decode", "model.jlc"), 6),
        (("decode", "good.jlc", "-o", "new.jpg"), 8),  # transparent
        (("info", "zero2.jlc"), 4),
        (("info", "version.jlc"), 5),
    ]:
        command, name, *rest = arguments
        rest = [tmp_path / word if word.startswith("new.") else word for word in rest]
        options = () if command == "info" else ("--weights", tiny_weights)
        result = run(command, tmp_path / name, *rest, *options)
        lines = result.stderr.splitlines()
        assert (result.exit_code, len(lines)) == (code, 1), (arguments, result.stderr)
        assert lines[0].startswith(f"jndcodec: {tmp_path}") and lines[0].count(str(tmp_path / name)) <= 1
        assert tree(tmp_path) == before, arguments


def test_the_program_ends_with_the_same_codes_and_no_traceback(tmp_path: Path) -> None:
    none, output = tmp_path / "none", tmp_path / "a.xyz"
    for arguments, code in ((["encode", none], 3), (["decode", none, "-o", output], 8), (["encode"], 2)):
        done = subprocess.run([sys.executable, "-m", "jndcodec", *arguments], capture_output=True, text=True)
        assert done.returncode == code and done.stdout == "" and "Traceback" not in done.stderr


# --- .jlc files ---


def test_truncated_at_every_byte(data: bytes, codec: Codec) -> None:
    for end in range(len(data)):
        with pytest.raises(FormatError):
            codec.decode(data[:end])
        if end > len(MAGIC) + 20:  # cut, and the checksum forged
            with pytest.raises(JndcodecError):
                codec.decode(with_checksum(data[:end]))


def test_every_flipped_bit_is_noticed(data: bytes, codec: Codec) -> None:
    for at in range(len(data)):
        for bit in range(8):
            damaged = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            with pytest.raises((FormatError, VersionError)):
                codec.decode(damaged)


@pytest.mark.parametrize("width, height", [(1 << 20, 1 << 20), (1 << 20, 1), (1, 1 << 20), (20_000, 20_000)])
def test_hostile_sizes_are_refused_before_memory_is_taken(data: bytes, codec: Codec, width: int, height: int) -> None:
    jlc = parse(data)
    jlc.width, jlc.height = width, height
    with pytest.raises((FormatError, LimitError, errors.SymbolError)):
        codec.decode(jlc.pack(), max_pixels=1 << 20)


def test_hostile_metadata_does_not_inflate(data: bytes, codec: Codec) -> None:
    jlc = parse(data)
    jlc.sections[Section.XMP] = zlib.compress(bytes(1 << 27), 9)
    with pytest.raises(FormatError, match="64 MiB"):
        codec.decode(jlc.pack())


@pytest.mark.parametrize("payload", [b"", b"junk", zlib.compress(b"x")[:-1]])
@pytest.mark.parametrize("kind", [Section.ALPHA, Section.XMP, Section.Z, Section.Y])
def test_sections_of_junk(data: bytes, codec: Codec, kind: Section, payload: bytes) -> None:
    jlc = parse(data)
    jlc.sections[kind] = payload
    with pytest.raises(JndcodecError):
        codec.decode(jlc.pack())


def test_an_alpha_of_another_size_is_refused(data: bytes, codec: Codec, photo) -> None:
    jlc = parse(data)
    other = parse(codec.encode(Image.fromarray(np.dstack([photo(9, 9), photo(9, 9)[..., :1]]))))
    jlc.sections[Section.ALPHA] = other.sections[Section.ALPHA]
    with pytest.raises(FormatError, match="alpha"):
        codec.decode(jlc.pack())


# --- fuzzing ---


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with one part changed, and its checksum made right so that the change gets past it."""
    jlc = parse(data)
    kind = int(rng.integers(6))
    if kind == 0:  # anything anywhere
        body = bytearray(data)
        for _ in range(rng.integers(1, 5)):
            body[rng.integers(5, len(body))] = rng.integers(256)
        return with_checksum(bytes(body))
    if kind == 1:
        jlc.width, jlc.height = (int(side) for side in rng.integers(1, 200, 2))
    elif kind == 2:
        jlc.t = int(rng.integers(65536))
    elif kind == 3:
        jlc.flags = Flags(int(rng.integers(8)))
    else:  # a section cut, lengthened, of noise, or with changed bytes
        name = list(jlc.sections)[rng.integers(len(jlc.sections))]
        payload = bytearray(jlc.sections[name])
        change = int(rng.integers(4))
        if change == 0:
            payload = payload[: rng.integers(len(payload) + 1)]
        elif change == 1:
            payload += rng.bytes(int(rng.integers(1, 40)))
        elif change == 2:
            payload = bytearray(rng.bytes(int(rng.integers(0, 2 * len(payload) + 2))))
        elif payload:
            payload[rng.integers(len(payload))] ^= 1 << int(rng.integers(8))
        jlc.sections[name] = bytes(payload)
    return jlc.pack()


def fuzz(data: bytes, codec: Codec, count: int, seed: int) -> dict[str, int]:
    """How often each outcome came; anything but a picture or an error of ours fails."""
    rng = np.random.default_rng(seed)
    outcomes: dict[str, int] = {}
    for _ in range(count):
        damaged = mutated(data, rng)
        try:
            image = codec.decode(damaged, max_pixels=1 << 20)
            jlc: Jlc = parse(damaged)
            assert image.size == (jlc.width, jlc.height)
            outcome = "picture"
        except JndcodecError as error:
            outcome = type(error).__name__
            assert "\n" not in str(error)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


def test_mutated_files_give_a_picture_or_a_clear_error(data: bytes, codec: Codec) -> None:
    outcomes = fuzz(data, codec, 300, seed=0)
    assert {"FormatError", "SymbolError"} <= set(outcomes), outcomes


def test_mutated_lossless_files(data: bytes, codec: Codec) -> None:
    outcomes = fuzz(codec.encode(codec.decode(data), lossless=True), codec, 500, seed=0)
    assert {"FormatError", "picture"} <= set(outcomes), outcomes


@pytest.mark.long
def test_twenty_thousand_mutated_files(data: bytes, codec: Codec) -> None:
    assert sum(fuzz(data, codec, 20_000, seed=1).values()) == 20_000
    assert sum(fuzz(codec.encode(codec.decode(data), lossless=True), codec, 20_000, seed=1).values()) == 20_000


def test_no_pickle_is_loaded(tmp_path: Path, photo) -> None:
    """A weights file that is a pickle is refused before anything in it runs."""
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Bomb()))
    source = write_png(tmp_path / "a.png", photo(16, 16))
    result = run("encode", source, "--weights", tmp_path / "evil.pth")
    assert result.exit_code == 6 and not (tmp_path / "ran").exists()
    with pytest.raises(JndcodecError):
        jndcodec.decode(b"", weights=tmp_path / "evil.pth")
