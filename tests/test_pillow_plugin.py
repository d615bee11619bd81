"""Pillow opens and saves .jlc files."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

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
