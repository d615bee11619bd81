"""What is silent otherwise says every half minute that it lives; what is passed over in a folder is named once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_tools import run, write_png

from jndcodec import heartbeat

# jndcodec with a heartbeat of 50 ms in place of 30 s
QUICK = "from jndcodec import heartbeat; heartbeat.SECONDS = 0.05; from jndcodec.cli import main; main()"


def test_a_line_at_every_beat_and_none_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS", 0.02)
    count = [0]
    with heartbeat.heartbeat(lambda: f"{count[0]} done"):
        time.sleep(0.05)
        count[0] = 7
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3 and lines[-1] == "7 done"
    time.sleep(0.05)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with heartbeat.heartbeat(lambda: "never"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_prepare_and_eval_say_how_far_they_are(tmp_path: Path, photo) -> None:
    pytest.importorskip("bjontegaard")
    pytest.importorskip("matplotlib")
    for i in range(3):
        write_png(tmp_path / f"in/{i}.png", photo(128, 160, i))
    for arguments, says in (
        (("prepare", "in", "--out", "set", "--tile", "64", "--jobs", "1"), "set: "),
        (("eval", "in", "--out", "out", "--codecs", "jpeg:50/80", "--metrics", "psnr", "--jobs", "1"), "measuring: "),
    ):
        done = subprocess.run(
            [sys.executable, "-c", QUICK, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert [line for line in done.stderr.splitlines() if line.startswith(says)], done.stderr


def test_other_pictures_in_a_folder_are_named_once(tmp_path: Path, photo, tiny_weights: Path) -> None:
    for name in ("a.png", "x/b.png"):
        write_png(tmp_path / "in" / name, photo(32, 32))
    for name in ("1.CR2", "x/2.cr2", "logo.svg", "notes.txt", ".hidden.nef"):
        (tmp_path / "in" / name).touch()
    result = run("encode", tmp_path / "in", "-o", tmp_path / "out", "--weights", tiny_weights)
    assert result.exit_code == 0
    lines = [line for line in result.stderr.splitlines() if "passed over" in line]
    assert len(lines) == 1 and lines[0].endswith(": 2 .cr2, 1 .svg")
    assert result.stderr.splitlines()[-1].startswith("coded 2, kept 0, failed 0, ")
