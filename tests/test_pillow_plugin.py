"""Pillow opens and saves .jlc files."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

import jndcodec
import jndcodec.pillow_plugin  # noqa: F401 - registers
from jndcodec.container.jlc import parse


@pytest.fixture
def image(photo) -> Image.Image:
    return Image.fromarray(photo(40, 64))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_save_and_open(image: Image.Image, tmp_path: Path, tiny_weights: Path, mode: str, monkeypatch) -> None:
    from jndcodec import codec

    image = image.convert(mode)
    image.save(tmp_path / "a.jlc", weights=tiny_weights, quality=80)
    data = (tmp_path / "a.jlc").read_bytes()
    assert data == jndcodec.encode(image, weights=tiny_weights, quality=80)
    expected = jndcodec.decode(data, weights=tiny_weights)
    monkeypatch.setattr(codec, "find_by_id", lambda model_id: None)
    with Image.open(tmp_path / "a.jlc") as opened:  # the header alone: no model is needed yet
        assert (opened.format, opened.mode, opened.size) == ("JLC", mode, (64, 40))
        with pytest.raises(jndcodec.JndcodecError, match="not installed"):
            opened.load()
        monkeypatch.setattr("jndcodec.codec.decode", lambda data: codec.Codec(weights=tiny_weights).decode(data))
        assert np.array_equal(np.asarray(opened), np.asarray(expected))
        assert np.array_equal(np.asarray(opened.resize((64, 40))), np.asarray(expected))


def test_metadata_is_there_before_the_pixels(image: Image.Image, tiny_weights: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    stream = io.BytesIO()
    image.save(stream, "JLC", weights=tiny_weights, exif=exif, xmp=b"<x/>")
    opened = Image.open(stream)
    assert opened.getexif()[0x010F] == "Acme" and opened.info["xmp"] == b"<x/>"
    opened.info["exif"] = exif.tobytes()
    image.info["xmp"] = b"<own/>"
    for options, kept in (({}, b"<own/>"), ({"xmp": None}, None)):
        stream = io.BytesIO()
        image.save(stream, "JLC", weights=tiny_weights, **options)
        assert Image.open(stream).info.get("xmp") == kept


def test_options_reach_the_codec(image: Image.Image, tiny_weights: Path) -> None:
    files = []
    for options in ({"quality": 0}, {"quality": 100}, {"size": 0}):
        if "size" in options:
            options["size"] = (len(files[0]) + len(files[1])) // 2
        stream = io.BytesIO()
        image.save(stream, "JLC", weights=tiny_weights, **options)
        files.append(stream.getvalue())
    assert [parse(data).t for data in files[:2]] == [0, 65535]
    assert len(files[0]) < len(files[2]) <= options["size"] < len(files[1])


def test_conversions_are_warned_of(image: Image.Image, tiny_weights: Path) -> None:
    with pytest.warns(UserWarning, match="CMYK"):
        image.convert("CMYK").save(io.BytesIO(), "JLC", weights=tiny_weights)


def test_damaged_files_are_not_identified(image: Image.Image, tiny_weights: Path) -> None:
    data = jndcodec.encode(image, weights=tiny_weights)
    for damaged in (data[:-1], data[:30], data[:100] + b"!" + data[101:]):
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(damaged))


def test_registering_does_not_import_torch() -> None:
    program = "import sys, jndcodec.pillow_plugin; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


# --- orientation ---


def turned(orientation: int) -> Image.Image:
    """A picture of one bright corner, as a camera stores it."""
    samples = np.full((48, 80, 3), 60, np.uint8)
    samples[:16, :24] = 230
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(samples).save(stream, "PNG", exif=exif)
    return Image.open(stream)


def shown(image: Image.Image) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size and bright corner (row, column: 0 or 1) as a viewer that follows the EXIF shows them."""
    pixels = np.asarray(ImageOps.exif_transpose(image).convert("L"))
    corners = pixels[:8, :8], pixels[:8, -8:], pixels[-8:, :8], pixels[-8:, -8:]
    brightest = int(np.argmax([corner.mean() for corner in corners]))
    return (pixels.shape[1], pixels.shape[0]), divmod(brightest, 2)


def saved_and_opened(image: Image.Image, file_format: str, **options: object) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return Image.open(stream)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_never_turns_a_picture_twice(orientation: int, tiny_weights: Path, monkeypatch) -> None:
    """With any EXIF that is given, a viewer shows the .jlc file as it shows a PNG that was saved in the same way."""
    from jndcodec import codec

    monkeypatch.setattr("jndcodec.codec.decode", lambda data: codec.Codec(weights=tiny_weights).decode(data))
    image = turned(orientation)
    upright = ImageOps.exif_transpose(image)
    without = turned(orientation).getexif()
    del without[0x0112]
    cases = [
        (image, {"exif": image.info["exif"]}),
        (image, {"exif": image.getexif()}),
        (image, {"exif": without}),
        (Image.fromarray(np.asarray(image)), {"exif": image.info["exif"]}),
        (upright, {"exif": upright.getexif()}),
        (upright, {}),
    ]
    for picture, options in cases:
        expected = shown(saved_and_opened(picture, "PNG", **options))
        opened = saved_and_opened(picture, "JLC", weights=tiny_weights, quality=80, **options)
        assert opened.getexif().get(0x0112, 1) == 1 and shown(opened) == expected
    for options in ({}, {"exif": None}, {"exif": b""}):  # the picture's own orientation counts
        opened = saved_and_opened(image, "JLC", weights=tiny_weights, quality=80, **options)
        assert shown(opened) == shown(image) and ("exif" in opened.info) == (not options)


# --- as other formats behave ---


@pytest.fixture
def file(image: Image.Image, tmp_path: Path, tiny_weights: Path, monkeypatch) -> Path:
    from jndcodec import codec

    warm = codec.Codec(weights=tiny_weights)
    monkeypatch.setattr("jndcodec.codec.decode", warm.decode)
    image.save(tmp_path / "a.jlc", weights=tiny_weights, quality=80)
    return tmp_path / "a.jlc"


def test_files_are_closed(file: Path) -> None:
    """500 opened and loaded, 500 opened and kept: no descriptor stays open."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        kept = [Image.open(file) for _ in range(500)]
        for image in kept[:2]:
            image.load()
        with open(file, "rb") as stream:
            image = Image.open(stream)
            assert not stream.closed
            image.load()
        damaged = file.with_name("b.jlc")
        damaged.write_bytes(file.read_bytes()[:-1])
        for _ in range(300):
            with pytest.raises(UnidentifiedImageError):
                Image.open(damaged)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_people_do_with_an_opened_image(file: Path) -> None:
    expected = np.asarray(Image.open(file))
    assert expected.shape == (40, 64, 3)

    def fresh() -> Image.Image:
        return Image.open(file)

    image = fresh()
    image.load()
    image.load()
    assert np.array_equal(np.asarray(image), expected) and np.array_equal(np.asarray(fresh().copy()), expected)
    image = fresh()
    image.thumbnail((20, 20))
    assert image.size == (20, 13) and np.asarray(image).shape == (13, 20, 3)
    image = fresh()
    assert image.draft("L", (10, 10)) is None and image.size == (64, 40)
    image.verify()
    assert np.array_equal(np.asarray(fresh().crop((0, 0, 9, 9))), expected[:9, :9])
    assert fresh().convert("L").mode == "L" and fresh().tobytes() == expected.tobytes()
    assert fresh().getpixel((3, 2)) == tuple(expected[2, 3]) and fresh().tell() == 0
    with fresh() as image:
        image.load()
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(fresh()))), expected)
    image = fresh()
    image.close()
    with pytest.raises(ValueError):
        image.load()


def test_an_error_while_decoding_can_be_met_again(file: Path, monkeypatch) -> None:
    def fail(data: bytes) -> Image.Image:
        raise jndcodec.JndcodecError("not now")

    image = Image.open(file)
    with monkeypatch.context() as patch:
        patch.setattr("jndcodec.codec.decode", fail)
        for _ in range(2):
            with pytest.raises(jndcodec.JndcodecError, match="not now"):
                image.load()
    assert image.getpixel((0, 0))
