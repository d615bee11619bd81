"""Outputs that the shell has opened, inputs out of reach, consoles that lack letters: one line, no traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run, tree, write_png

from jndcodec.cli.paths import JLC_SUFFIXES, encoded_name, plan
from jndcodec.container.jlc import parse
from jndcodec.errors import InputError, OutputError
from jndcodec.output import descriptor, writing

PROGRAM = [sys.executable, "-m", "jndcodec"]
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


@pytest.fixture
def picture(photo: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    return write_png(tmp_path / "a.png", photo(24, 24))


@pytest.mark.parametrize(
    ("path", "number"),
    [("-", 1), ("/dev/stdout", 1), ("/dev/stderr", 2), ("/dev/stdin", 0), ("/dev/fd/7", 7), ("/dev/../dev/fd/7", 7)]
    + [("/proc/self/fd/12", 12), (f"/proc/{os.getpid()}/fd/3", 3), ("/proc/1/fd/1", None), ("/dev/null", None)],
)
def test_paths_of_what_is_open(path: str, number: int | None) -> None:
    assert descriptor(path) == number


def test_links_to_what_is_open(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/stdout")
    (tmp_path / "again").symlink_to("out")
    (tmp_path / "loop").symlink_to("loop")
    assert [descriptor(tmp_path / name) for name in ("out", "again", "loop", "none")] == [1, 1, None, None]


@needs_proc
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_what_the_shell_opened_is_written_through(name: str, picture: Path, tmp_path: Path) -> None:
    with open(tmp_path / "all", "wb") as stream:
        stream.write(b"before")
        stream.flush()
        inode = os.stat(tmp_path / "all").st_ino
        command = [*PROGRAM, "encode", picture, "--lossless", "-f", "-o", name]
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "all").read_bytes()
    assert os.stat(tmp_path / "all").st_ino == inode and data.startswith(b"before") and parse(data[6:]).lossless
    assert tree(tmp_path) == ["a.png", "all"]


@needs_proc
def test_other_descriptors(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w+b") as stream:
        stream.write(b"one ")
        stream.flush()
        with writing(f"/dev/fd/{stream.fileno()}") as out:
            out.write(b"two")
        assert (tmp_path / "file").read_bytes() == b"one two"
    with pytest.raises(OutputError, match="nothing is open"), writing("/dev/fd/999") as out:
        out.write(b"two")


@pytest.mark.parametrize("arguments", [[""], ["a.png", ""], ["a.png", "-o", ""]])
def test_empty_names(arguments: list[str], picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(picture.parent)
    result = run("encode", *arguments)
    assert result.exit_code == 2 and "empty name" in result.stderr


def test_an_output_that_is_an_input_is_refused(photo: Callable[..., np.ndarray], tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", photo(24, 24))
    os.link(tmp_path / "a.png", tmp_path / "hard.png")
    (tmp_path / "soft.png").symlink_to("a.png")
    before = (tmp_path / "a.png").read_bytes()
    for name in ("a.png", "hard.png", "soft.png"):
        result = run("encode", tmp_path / "a.png", "--lossless", "-f", "-o", tmp_path / name)
        assert result.exit_code == 8 and "is one of the inputs" in result.stderr
    assert (tmp_path / "a.png").read_bytes() == before
    (tmp_path / "x.jlc").write_bytes(b"")
    (tmp_path / "x").write_bytes(b"")
    tasks = plan([str(tmp_path / "x"), str(tmp_path / "x.jlc")], None, JLC_SUFFIXES, encoded_name)
    assert [type(task.error) for task in tasks] == [OutputError, type(None)]


def test_unreadable_folders_are_reported(
    photo: Callable[..., np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("in/a.png", "in/closed/b.png"):
        write_png(tmp_path / name, photo(24, 24))
    scan = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    result = run("encode", tmp_path / "in", "--lossless", "-o", tmp_path / "out")
    assert result.exit_code == 3 and "in/closed: cannot be read (Permission denied)" in result.stderr
    assert tree(tmp_path / "out") == ["a.png.jlc"] and "coded 1, kept 0, failed 1" in result.stderr


def test_long_names(picture: Path, tmp_path: Path) -> None:
    for letter in ("n", "ü", "漢", "😀"):
        name = letter * (251 // len(letter.encode()))
        source = tmp_path / name
        source.write_bytes(picture.read_bytes())
        assert run("encode", source, "--lossless").exit_code == 0
        assert run("decode", tmp_path / f"{name}.jlc", "-o", tmp_path / "b.png", "-f").exit_code == 0
    full = tmp_path / ("n" * 255)
    full.write_bytes(picture.read_bytes())
    assert run("encode", full, "--lossless", "-o", tmp_path / ("m" * 255)).exit_code == 0
    result = run("encode", full, "--lossless")
    assert result.exit_code == 8 and "name is too long" in result.stderr
    result = run("encode", "n" * 256, "--lossless", "-o", tmp_path / "c.jlc")
    assert result.exit_code == 3 and "File name too long" in result.stderr
    assert run("decode", "n" * 256).exit_code == 3 and run("info", "n" * 256).exit_code == 3


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_paths_without_access(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *arguments: object, **options: object) -> object:
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    real = os.stat
    monkeypatch.setattr(os, "stat", refuse)
    result = run(command, "closed/a.jlc", "-o", tmp_path / "o.png")
    assert result.exit_code == 3 and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("vanishes", ["before", "meanwhile"])
def test_an_input_that_vanishes(
    vanishes: str, photo: Callable[..., np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jndcodec.images import loading

    for name in ("a.png", "b.png"):
        write_png(tmp_path / "in" / name, photo(24, 24))
    real = loading.load_picture

    def load(source: str, *arguments: object, **options: object) -> object:
        first = source.endswith("a.png")
        picture = None if first and vanishes == "before" else real(source, *arguments, **options)
        if first:
            os.unlink(source)
        return picture or real(source, *arguments, **options)

    monkeypatch.setattr(loading, "load_picture", load)
    result = run("encode", tmp_path / "in", "--lossless", "-o", tmp_path / "out")
    assert result.exit_code == (3 if vanishes == "before" else 0)
    assert "b.png.jlc" in tree(tmp_path / "out") and "Traceback" not in result.stderr


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1"])
@pytest.mark.parametrize("option", ["--bpp", "--jnd", "-q"])
def test_targets_that_are_no_numbers(option: str, value: str, picture: Path, tiny_weights: Path) -> None:
    result = run("encode", picture, option, value, "--weights", tiny_weights)
    assert result.exit_code == (0 if (option, value) == ("-q", "0") else 2), result.stderr
    assert "Traceback" not in result.stderr


def test_a_console_that_lacks_letters(picture: Path, tmp_path: Path) -> None:
    name = tmp_path / "\u2603\udcff.jlc"
    assert run("encode", picture, "--lossless", "-o", name).exit_code == 0
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    for arguments in (
        ["info", name],
        ["info", name, "--json"],
        ["decode", name, "-o", tmp_path / "b.png"],
        ["encode", "-h"],
    ):
        done = subprocess.run([*PROGRAM, *arguments], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    done = subprocess.run([*PROGRAM, "info", tmp_path / "\u2603.jlc"], env=environment, capture_output=True)
    assert done.returncode == InputError.exit_code and b"\\u2603.jlc: no such file" in done.stderr


@pytest.mark.parametrize("arguments", [["prepare", "n" * 300, "--out", "q"], ["web", "--out", "n" * 300]])
def test_what_the_system_refuses_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1 and "File name too long" in done.stderr


def test_a_name_neither_breaks_the_line_nor_drives_the_terminal(picture: Path, tmp_path: Path) -> None:
    name = tmp_path / "red\x1b[31m\nline.png"
    os.link(picture, name)
    for found in (run("encode", name, "--lossless"), run("encode", tmp_path / "none\n.png"), run("info", name)):
        assert len(found.stderr.splitlines()) == 1 and "\x1b" not in found.stderr
    assert tree(tmp_path) == ["a.png", name.name, f"{name.name}.jlc"]


@needs_proc
@pytest.mark.parametrize(("arguments", "closed", "code"), [("encode a.png -o -", ">&-", 8), ("encode -", "<&-", 3)])
def test_what_is_closed_is_said(arguments: str, closed: str, code: int, picture: Path) -> None:
    command = f"exec {shlex.join(PROGRAM)} {arguments} {closed}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=picture.parent)
    assert done.returncode == code and done.stderr.count("\n") == 1 and "is closed" in done.stderr
