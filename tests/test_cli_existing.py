"""Runs that go on where another stopped: what is kept, the times of outputs, and the total at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run, tree, write_png

OLD, NEW = 1_000_000_000_123_456_789, 1_200_000_000_000_000_000  # ns


@pytest.fixture
def folder(photo: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "deep/c.png"):
        os.utime(write_png(tmp_path / "in" / name, photo(24, 24)), ns=(OLD, OLD))
    return tmp_path / "in"


@pytest.fixture
def encode(folder: Path, tmp_path: Path, tiny_weights: Path) -> Callable[..., str]:
    def run_it(*options: str, exit_code: int = 0) -> str:
        result = run("encode", folder, "-o", tmp_path / "out", "-q", 10, "--weights", tiny_weights, *options)
        assert result.exit_code == exit_code, result.stderr
        return result.stdout if "--json" in options else result.stderr

    return run_it


def test_the_total(folder: Path, tmp_path: Path, encode: Callable[..., str]) -> None:
    (folder / "b.png").write_bytes(b"no picture")
    last = encode(exit_code=3).splitlines()[-1]
    before = sum((folder / name).stat().st_size for name in ("a.png", "deep/c.png"))
    after = sum((tmp_path / "out" / name).stat().st_size for name in ("a.png.jlc", "deep/c.png.jlc"))
    saved = f"{100 - 100 * after / before:.0f}"
    assert last == f"coded 2, kept 0, failed 1, {before} -> {after} bytes, saved {saved} %"


def test_one_file_has_no_total(folder: Path, tiny_weights: Path) -> None:
    assert "coded 1" not in run("encode", folder / "a.png", "--weights", tiny_weights).stderr


def test_skip_existing_goes_on_after_a_stop(folder: Path, tmp_path: Path, encode: Callable[..., str]) -> None:
    encode()
    kept = tmp_path / "out/a.png.jlc"
    (tmp_path / "out/b.png.jlc").unlink()
    kept.write_bytes(b"mine")
    lines = encode("--skip-existing").splitlines()
    assert len(lines) == 2 and "b.png ->" in lines[0] and lines[1].startswith("coded 1, kept 2, failed 0, ")
    assert kept.read_bytes() == b"mine"
    assert encode("--skip-existing").splitlines() == ["coded 0, kept 3, failed 0"]
    assert encode(exit_code=8).splitlines()[-1] == "coded 0, kept 0, failed 3"
    assert [json.loads(line)["kept"] for line in encode("--skip-existing", "--json").splitlines()] == [True] * 3


def test_update_codes_what_changed(folder: Path, tmp_path: Path, encode: Callable[..., str]) -> None:
    encode()
    os.utime(folder / "deep/c.png", ns=(NEW, NEW))
    (tmp_path / "out/a.png.jlc").unlink()
    assert encode("--update").splitlines()[-1].startswith("coded 2, kept 1, failed 0, ")
    assert encode("--update").splitlines() == ["coded 0, kept 3, failed 0"]
    assert (tmp_path / "out/deep/c.png.jlc").stat().st_mtime_ns == NEW


def test_times_of_the_inputs(folder: Path, tmp_path: Path, encode: Callable[..., str], tiny_weights: Path) -> None:
    encode()
    assert (tmp_path / "out/a.png.jlc").stat().st_mtime_ns == OLD
    encode("-f", "--no-times")
    assert (tmp_path / "out/a.png.jlc").stat().st_mtime_ns > NEW
    for option, kept in (("--no-times", False), ("--times", True), (None, False)):
        target = tmp_path / f"one{option}.jlc"
        options = ["-o", target, "--weights", tiny_weights, *([option] if option else [])]
        assert run("encode", folder / "a.png", *options).exit_code == 0
        assert (target.stat().st_mtime_ns == OLD) is kept


def test_a_single_file_that_is_kept_says_so(folder: Path, tmp_path: Path, tiny_weights: Path) -> None:
    target = folder / "a.png.jlc"
    target.write_bytes(b"mine")
    result = run("encode", folder / "a.png", "--skip-existing", "--weights", tiny_weights)
    assert result.exit_code == 0 and target.read_bytes() == b"mine"
    assert result.stderr == f"{folder / 'a.png'}: kept {target}, which is there already\n"


def test_decode_has_them_too(folder: Path, tmp_path: Path, encode: Callable[..., str], tiny_weights: Path) -> None:
    encode()
    back = ["decode", tmp_path / "out", "-o", tmp_path / "back", "--weights", tiny_weights]
    lines = run(*back).stderr.splitlines()
    assert lines[-1].startswith("decoded 3, kept 0, failed 0, ") and "saved" not in lines[-1]
    assert (tmp_path / "back/a.png.png").stat().st_mtime_ns == OLD
    assert run(*back, "--update").stderr.splitlines() == ["decoded 0, kept 3, failed 0"]
    assert tree(tmp_path / "back") == ["a.png.png", "b.png.png", "deep/c.png.png"]


def test_an_error_that_nobody_thought_of_ends_no_batch(
    folder: Path, encode: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jndcodec.codec import Codec

    real, seen = Codec.encode, []

    def fail_first(*arguments: object, **options: object) -> bytes:
        seen.append(1)
        if len(seen) == 1:
            raise KeyError("what")
        return real(*arguments, **options)

    monkeypatch.setattr(Codec, "encode", fail_first)
    lines = encode(exit_code=1).splitlines()
    assert lines[0].startswith(f"jndcodec: {folder / 'a.png'}: failed unexpectedly (KeyError: 'what')")
    assert lines[-1].startswith("coded 2, kept 0, failed 1, ")
