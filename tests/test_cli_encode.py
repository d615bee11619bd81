"""`jndcodec encode`: targets, files, folders, pipes, JSON, what it says and what it leaves."""

from __future__ import annotations

import io
import json
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from cli_tools import open_picture, run, tree, write_png
from PIL import Image

import jndcodec
from jndcodec.container.jlc import Section, parse
from jndcodec.images.loading import MAX_PIXELS


@pytest.fixture
def picture(tmp_path: Path, photo) -> Path:
    return write_png(tmp_path / "photo.png", photo(72, 100))


def test_a_file_goes_beside_its_picture_with_one_line(picture: Path, tiny_weights: Path) -> None:
    result = run("encode", picture, "--weights", tiny_weights)
    output = Path(f"{picture}.jlc")
    assert (result.exit_code, result.stdout) == (0, "")
    line = result.stderr.strip()
    size = output.stat().st_size
    assert "\n" not in line and line.startswith(f"{picture} -> {output}: ")
    assert f"{8 * size / 7200:.3f} bpp" in line and f"1/{picture.stat().st_size / size:.1f} of the input" in line
    assert output.read_bytes() == jndcodec.encode(picture, weights=tiny_weights)
    assert parse(output.read_bytes()).t == round(0.6 * 65535)  # the model's calibrated one-JND quality


def test_quality_rises_with_the_knob(picture: Path, tiny_weights: Path, tmp_path: Path) -> None:
    sizes = []
    for quality in (0, 50, 100):
        output = tmp_path / f"{quality}.jlc"
        assert run("encode", picture, "-o", output, "-q", quality, "--weights", tiny_weights).exit_code == 0
        assert parse(output.read_bytes()).t == round(quality / 100 * 65535)
        sizes.append(output.stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("option, value, limit", [("--size", "1.5k", 1500), ("--size", "900", 900), ("--bpp", 1, 900)])
def test_size_and_bpp_are_never_exceeded(
    picture: Path, tiny_weights: Path, option: str, value: object, limit: int
) -> None:
    assert run("encode", picture, option, value, "--weights", tiny_weights).exit_code == 0
    assert 0.8 * limit < Path(f"{picture}.jlc").stat().st_size <= limit


def test_jnd_sets_the_knob_or_says_what_is_reached(tmp_path: Path, tiny_weights: Path) -> None:
    picture = write_png(tmp_path / "ramps.png", ramps(72, 100))
    assert run("encode", picture, "--jnd", 6, "--weights", tiny_weights).exit_code == 0
    assert parse((tmp_path / "ramps.png.jlc").read_bytes()).t < 65535
    result = run("encode", picture, "--jnd", 0.01, "-f", "--lossy", "--weights", tiny_weights)
    assert result.exit_code == 9 and "higher --jnd" in result.stderr


def test_a_target_out_of_reach_says_so(picture: Path, tiny_weights: Path) -> None:
    result = run("encode", picture, "--size", 20, "--weights", tiny_weights)
    assert result.exit_code == 9 and result.stderr.startswith(f"jndcodec: {picture}: ") and "20 bytes" in result.stderr
    assert tree(picture.parent) == ["photo.png"]


def test_verify_effort_and_strip(tmp_path: Path, photo, tiny_weights: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    source = write_png(tmp_path / "a.png", photo(64, 64), exif=exif.tobytes())
    options = ("--verify", "-e", 9, "--weights", tiny_weights)
    assert run("encode", source, *options, "-o", tmp_path / "kept.jlc").exit_code == 0
    assert run("encode", source, *options, "-o", tmp_path / "bare.jlc", "--strip").exit_code == 0
    assert Section.EXIF in parse((tmp_path / "kept.jlc").read_bytes()).sections
    assert Section.EXIF not in parse((tmp_path / "bare.jlc").read_bytes()).sections


@pytest.mark.parametrize(
    "arguments",
    [
        ("--jnd", 1, "-q", 50),
        ("--bpp", 1, "--size", "10k"),
        ("--size", "ten"),
        ("--size", "0"),
        ("--max-pixels", "-3"),
        ("--jnd", 0),
        ("-q", 101),
        ("-e", 10),
        ("--model", "x", "--weights", "y"),
        ("-o", "-", "--json"),
        ("-", "-o", "-"),
    ],
)
def test_command_lines_that_make_no_sense(picture: Path, arguments: tuple[object, ...]) -> None:
    result = run("encode", picture, *arguments)
    assert result.exit_code == 2 and tree(picture.parent) == ["photo.png"]


def test_pipes_carry_nothing_but_the_file(picture: Path, tiny_weights: Path) -> None:
    engine = ("--engine", "torch")  # a warm process may choose another than a fresh one
    result = run("encode", "-", "--weights", tiny_weights, *engine, stdin=picture.read_bytes())
    assert result.exit_code == 0
    assert result.stdout_bytes == jndcodec.encode(picture, weights=tiny_weights, engine="torch")
    assert "bpp" in result.stderr
    assert run("encode", picture, "-o", "-", "--weights", tiny_weights, *engine).stdout_bytes == result.stdout_bytes


def test_named_pipes_are_read_once(picture: Path, tmp_path: Path, tiny_weights: Path) -> None:
    data = picture.read_bytes()
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(data,))
    writer.start()
    result = run("encode", tmp_path / "fifo", "-o", tmp_path / "a.jlc", "--json", "--weights", tiny_weights)
    writer.join()
    assert result.exit_code == 0 and json.loads(result.stdout)["input_bytes"] == len(data)


def test_notes_are_said(tmp_path: Path, tiny_weights: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    result = run("encode", tmp_path / "a.gif", "--weights", tiny_weights)
    assert f"{tmp_path / 'a.gif'}: note: first of 2 frames" in result.stderr
    assert json.loads(run("encode", tmp_path / "a.gif", "-f", "--json", "--weights", tiny_weights).stdout)["notes"]


# --- folders ---


@pytest.fixture
def folder(tmp_path: Path, photo) -> Path:
    root = tmp_path / "in"
    for i, name in enumerate(["a.png", "b.png", "b.jpg", "deep/er/c.PNG", ".hidden/d.png", ".e.png"]):
        write_png(root / name, photo(64, 64, i))  # a PNG named .jpg is read all the same
    (root / "notes.txt").write_text("no picture")
    return root


def test_a_folders_tree_is_recreated(folder: Path, tmp_path: Path, tiny_weights: Path) -> None:
    result = run("encode", folder, "-o", tmp_path / "out", "--weights", tiny_weights)
    assert result.exit_code == 0 and result.stdout == ""
    assert tree(tmp_path / "out") == ["a.png.jlc", "b.jpg.jlc", "b.png.jlc", "deep/er/c.PNG.jlc"]
    assert len(result.stderr.splitlines()) == 5


def test_several_inputs_keep_their_names(folder: Path, picture: Path, tmp_path: Path, tiny_weights: Path) -> None:
    assert run("encode", folder / "deep", picture, "-o", tmp_path / "out", "--weights", tiny_weights).exit_code == 0
    assert tree(tmp_path / "out") == ["deep/er/c.PNG.jlc", "photo.png.jlc"]


def test_without_output_files_go_beside_the_pictures(folder: Path, tiny_weights: Path) -> None:
    assert run("encode", folder / "deep", "--weights", tiny_weights).exit_code == 0
    assert tree(folder / "deep") == ["er/c.PNG", "er/c.PNG.jlc"]


def test_a_bad_file_is_reported_and_the_others_go_on(folder: Path, tmp_path: Path, tiny_weights: Path) -> None:
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "b.jpg").write_bytes(b"")
    result = run("encode", folder, "-o", tmp_path / "out", "--json", "--weights", tiny_weights)
    assert result.exit_code == 3
    assert tree(tmp_path / "out") == ["b.png.jlc", "deep/er/c.PNG.jlc"]
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row.get("exit_code") for row in rows] == [3, 3, None, None]
    assert rows[0]["input"] == str(folder / "a.png") and len(result.stderr.splitlines()) == 3
    good = rows[2]
    assert good["output"] == str(tmp_path / "out/b.png.jlc") and good["bytes"] == Path(good["output"]).stat().st_size
    assert good["bpp"] == pytest.approx(8 * good["bytes"] / 4096) and good["model"] == "tiny"
    assert good["ratio"] == pytest.approx(good["input_bytes"] / good["bytes"])
    assert good["quality"] == pytest.approx(60, abs=0.01)
    assert (good["width"], good["height"], good["notes"]) == (64, 64, [])


def test_two_processes_give_the_same_files(folder: Path, tmp_path: Path, tiny_weights: Path) -> None:
    (folder / "a.png").write_bytes(b"damaged")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.png.jlc").write_bytes(b"mine")
    result = run("encode", folder, "-o", tmp_path / "out", "--jobs", 2, "--weights", tiny_weights)
    assert result.exit_code == 3  # of the first error, in the order of the files
    lines = result.stderr.splitlines()
    assert [line.startswith("jndcodec: ") for line in lines] == [True, False, True, False, False]
    assert (tmp_path / "out/b.png.jlc").read_bytes() == b"mine"
    for name, source in (("b.jpg.jlc", "b.jpg"), ("deep/er/c.PNG.jlc", "deep/er/c.PNG")):
        assert (tmp_path / "out" / name).read_bytes() == jndcodec.encode(folder / source, weights=tiny_weights)


def test_a_missing_model_ends_the_batch_at_once(folder: Path, tmp_path: Path) -> None:
    result = run("encode", folder, "-o", tmp_path / "out", "--weights", tmp_path / "none")
    assert result.exit_code == 6 and len(result.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()


# --- pictures ---


def ramps(h: int, w: int) -> np.ndarray:
    """Smooth, nearly grey, and different along each side, so that even a tiny model codes it well."""
    y, x = np.mgrid[0:h, 0:w] / max(h, w)
    return np.stack([100 + 60 * x + 30 * y, 104 + 60 * x + 30 * y, 100 + 60 * x + 34 * y], -1).astype(np.uint8)


@pytest.mark.parametrize(
    "mode, h, w", [("L", 70, 33), ("LA", 33, 70), ("RGB", 70, 33), ("RGBA", 33, 70), ("RGBA", 1, 1), ("RGB", 1, 5000)]
)
def test_mode_and_alpha_come_back(tmp_path: Path, tiny_weights: Path, mode: str, h: int, w: int) -> None:
    base = ramps(h, w)
    alpha = np.random.default_rng(0).integers(0, 256, (h, w), dtype=np.uint8)
    image = Image.fromarray(base).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    assert run("encode", tmp_path / "a.png", "-q", 100, "--weights", tiny_weights).exit_code == 0
    assert run("decode", tmp_path / "a.png.jlc", "-o", tmp_path / "b.png", "--weights", tiny_weights).exit_code == 0
    back = open_picture(tmp_path / "b.png")
    assert (back.mode, back.size) == (mode, (w, h))
    if "A" in mode:
        assert np.array_equal(np.asarray(back.getchannel("A")), alpha)
    difference = np.asarray(back.convert("RGB"), int) - np.asarray(image.convert("RGB"), int)
    assert np.abs(difference).mean() < 4  # the right picture, from a tiny model


def test_the_default_pixel_limit_in_the_help_is_the_librarys(picture: Path) -> None:
    assert f"[default: {MAX_PIXELS // 10**6}M]" in " ".join(run("encode", "--help").stdout.split())


def test_what_pillow_warns_of_is_a_note(tmp_path: Path, photo, tiny_weights: Path) -> None:
    """And only with the picture that it is about."""
    stream = io.BytesIO()
    Image.fromarray(photo(32, 32)).save(stream, "TIFF", tiffinfo={269: "long enough to lie elsewhere"})
    data = bytearray(stream.getvalue())
    at = data.index(struct.pack("<HHI", 269, 2, 29))
    data[at + 4 : at + 8] = struct.pack("<I", 1 << 20)
    (tmp_path / "a.tif").write_bytes(data)
    write_png(tmp_path / "b.png", photo(32, 32))
    result = run("encode", tmp_path / "a.tif", tmp_path / "b.png", "-o", tmp_path / "o", "--weights", tiny_weights)
    notes = [line for line in result.stderr.splitlines() if "note: " in line]
    assert result.exit_code == 0 and len(notes) == 2 and "Warning" not in result.stderr
    assert all(note.startswith(f"{tmp_path / 'a.tif'}: note: ") for note in notes)
    assert "its EXIF is damaged" in notes[0]  # the other one is in Pillow's words
