"""`jndcodec decode`: formats, metadata, folders, pipes, models."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from cli_tools import open_picture, run, tree, write_png
from PIL import Image, ImageCms

import jndcodec
from jndcodec.container.jlc import Section, parse

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


@pytest.fixture(scope="module")
def data(photo, tiny_weights: Path) -> bytes:
    return jndcodec.encode(Image.fromarray(photo(64, 80)), weights=tiny_weights)


@pytest.fixture
def file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "photo.jlc"
    path.write_bytes(data)
    return path


def test_a_file_becomes_a_png_beside_it(file: Path, data: bytes, tiny_weights: Path) -> None:
    result = run("decode", file, "--weights", tiny_weights)
    output = file.with_suffix(".png")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"{file} -> {output}: 80 x 64, RGB, ")
    image = open_picture(output)
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), np.asarray(jndcodec.decode(data, weights=tiny_weights)))


@pytest.mark.parametrize("name, kind", [("a.webp", "WEBP"), ("a.TIF", "TIFF"), ("a.jpg", "JPEG"), ("a.bmp", "BMP")])
def test_the_suffix_says_the_format(file: Path, tmp_path: Path, tiny_weights: Path, name: str, kind: str) -> None:
    result = run("decode", file, "-o", tmp_path / name, "--weights", tiny_weights)
    assert result.exit_code == 0 and open_picture(tmp_path / name).format == kind
    assert ("note: JPEG is lossy" in result.stderr) == (kind == "JPEG")


@pytest.mark.parametrize("kind", ["ico", "tif", "bmp", "jp2"])
def test_bytes_are_those_of_the_file(file: Path, tmp_path: Path, tiny_weights: Path, kind: str) -> None:
    """Some of Pillow's writers go back to the start for a header."""
    output = tmp_path / f"a.{kind}"
    facts = json.loads(run("decode", file, "-o", output, "--weights", tiny_weights, "--json").stdout)
    assert facts["bytes"] == output.stat().st_size


def test_format_option_for_pipes_and_folders(file: Path, data: bytes, tmp_path: Path, tiny_weights: Path) -> None:
    piped = run("decode", "-", "--format", "webp", "--weights", tiny_weights, stdin=data)
    assert open_picture(piped.stdout_bytes).format == "WEBP"
    assert open_picture(run("decode", "-", "--weights", tiny_weights, stdin=data).stdout_bytes).format == "PNG"
    assert run("decode", tmp_path, "-o", tmp_path / "o", "--format", ".tif", "--weights", tiny_weights).exit_code == 0
    assert open_picture(tmp_path / "o/photo.tif").format == "TIFF"


def test_the_original_suffix_comes_back_if_asked(tmp_path: Path, data: bytes, tiny_weights: Path) -> None:
    for name in ("a.webp.jlc", "b.jlc", "c.heic.jlc"):
        (tmp_path / name).write_bytes(data)
    result = run("decode", tmp_path, "-o", tmp_path / "o", "--format", "original", "--weights", tiny_weights)
    assert result.exit_code == 8 and "c.heic.jlc: .heic: not a format" in result.stderr
    assert [open_picture(tmp_path / "o" / name).format for name in tree(tmp_path / "o")] == ["WEBP", "PNG"]


def test_unknown_formats_are_refused_before_any_work(file: Path, tmp_path: Path) -> None:
    with pytest.raises(jndcodec.JndcodecError, match="png"):
        run("decode", file, "-o", tmp_path / "a.xyz")
    assert tree(tmp_path) == ["photo.jlc"]


def test_metadata_and_orientation_survive(tmp_path: Path, photo, tiny_weights: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Acme", 6
    Image.fromarray(photo(40, 64)).save(tmp_path / "a.webp", exif=exif.tobytes(), icc_profile=ICC, xmp=XMP)
    assert run("encode", tmp_path / "a.webp", "--weights", tiny_weights).exit_code == 0
    for name in ("b.png", "b.jpg", "b.webp", "b.tif"):
        assert run("decode", tmp_path / "a.webp.jlc", "-o", tmp_path / name, "--weights", tiny_weights).exit_code == 0
        image = open_picture(tmp_path / name)
        assert image.size == (40, 64) and image.getexif().get(0x0112, 1) == 1 and image.getexif()[0x010F] == "Acme"
        assert image.info["icc_profile"] == ICC and image.info["xmp"] == XMP


def test_transparency_is_never_lost_in_silence(tmp_path: Path, photo, tiny_weights: Path) -> None:
    source = write_png(tmp_path / "a.png", np.dstack([photo(32, 32), photo(32, 32)[..., :1]]))
    assert run("encode", source, "--weights", tiny_weights).exit_code == 0
    result = run("decode", tmp_path / "a.png.jlc", "-o", tmp_path / "b.jpg", "--weights", tiny_weights)
    assert result.exit_code == 8 and "transparency" in result.stderr and tree(tmp_path) == ["a.png", "a.png.jlc"]


def test_a_folder_with_a_bad_file(data: bytes, tmp_path: Path, tiny_weights: Path) -> None:
    for name, content in (("in/a.jlc", data[:50]), ("in/deep/b.jlc", data), ("in/c.txt", b""), ("in/d.jlc", data)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    result = run("decode", tmp_path / "in", "-o", tmp_path / "out", "--json", "--weights", tiny_weights)
    assert result.exit_code == 4 and tree(tmp_path / "out") == ["d.png", "deep/b.png"]
    bad, *good = [json.loads(line) for line in result.stdout.splitlines()]
    assert bad["exit_code"] == 4 and bad["input"] == str(tmp_path / "in/a.jlc")
    assert [(row["width"], row["height"], row["mode"]) for row in good] == [(80, 64, "RGB")] * 2


@pytest.mark.parametrize("suffix", ["tif", "avif", "jpg", "webp", "png"])
def test_damaged_exif_in_a_file_ends_no_batch(data: bytes, tmp_path: Path, tiny_weights: Path, suffix: str) -> None:
    for name, exif in (("a", b"no TIFF header at all"), ("b", b"MM\0*\0\0\0\x08\xff\xff"), ("c", b"")):
        jlc = parse(data)
        jlc.sections[Section.EXIF] = zlib.compress(exif)
        (tmp_path / f"{name}.jlc").write_bytes(jlc.pack())
    result = run("decode", tmp_path, "-o", tmp_path / "o", "--format", suffix, "--weights", tiny_weights)
    assert result.exit_code == 0 and result.stderr.count("note: its EXIF is damaged and left out") == 2
    assert all(open_picture(tmp_path / "o" / name).size == (80, 64) for name in tree(tmp_path / "o"))
    assert len(tree(tmp_path / "o")) == 3


def test_the_missing_model_is_named(file: Path, data: bytes) -> None:
    result = run("decode", file)
    assert result.exit_code == 6 and "--weights" in result.stderr and parse(data).model_id.hex() in result.stderr


def test_existing_outputs_are_kept_without_force(file: Path, tiny_weights: Path) -> None:
    output = file.with_suffix(".png")
    output.write_bytes(b"mine")
    result = run("decode", file, "--weights", tiny_weights)
    assert result.exit_code == 8 and "--force" in result.stderr and output.read_bytes() == b"mine"
    assert run("decode", file, "-f", "--weights", tiny_weights).exit_code == 0
    assert open_picture(output).size == (80, 64)


def test_max_pixels(file: Path, tiny_weights: Path) -> None:
    result = run("decode", file, "--max-pixels", "1k", "--weights", tiny_weights)
    assert result.exit_code == 10 and "--max-pixels" in result.stderr and tree(file.parent) == ["photo.jlc"]
