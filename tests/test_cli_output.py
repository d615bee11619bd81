"""Outputs are whole or absent: full disks, interruptions, existing files; and what goes to a terminal."""

from __future__ import annotations

import io
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_tools import run, tree, write_png

from jndcodec.cli.progress import Progress
from jndcodec.container.jlc import parse
from jndcodec.errors import OutputError
from jndcodec.output import check_output, writing

PROGRAM = [sys.executable, "-m", "jndcodec"]


def test_the_file_appears_whole_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new/deep/a.bin"
    with writing(path) as stream:
        stream.write(b"all")
        assert not path.exists()
    assert path.read_bytes() == b"all" and tree(tmp_path) == ["new/deep/a.bin"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, b"old"])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException], before: bytes | None) -> None:
    path = tmp_path / "a.bin"
    if before:
        path.write_bytes(before)
    with pytest.raises(error), writing(path, force=True) as stream:
        stream.write(b"half")
        raise error
    assert tree(tmp_path) == (["a.bin"] if before else []) and (not before or path.read_bytes() == before)


def test_existing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with pytest.raises(OutputError, match="--force"), writing(path):
        pass
    with writing(path, force=True) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(OutputError, match="folder"):
        check_output(tmp_path, force=True)


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(OutputError, match="exists"), writing(path) as stream:
        stream.write(b"ours")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs" and tree(tmp_path) == ["a.bin"]


def test_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    with writing(tmp_path / "link", force=True) as stream:
        stream.write(b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"new"


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The limit on file sizes stands for the disk: the system refuses the bytes in the middle of the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OutputError, match="choose another folder"), writing(tmp_path / "a.bin") as stream:
            stream.write(bytes(50_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tree(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device_says_so() -> None:
    with pytest.raises(OutputError, match="disk is full"), writing("/dev/full") as stream:
        stream.write(b"data")


def test_a_reader_that_goes_away_is_an_error_of_ours() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = "from jndcodec.output import writing\nwith writing('-') as stream: stream.write(bytes(10**6))"
    done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert "OutputError: -: the program that reads the output has closed it" in done.stderr


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OutputError, match="not a folder"), writing(tmp_path / "a/b") as stream:
        stream.write(b"data")


def test_the_command_line_reports_a_full_disk(tmp_path: Path, photo, tiny_weights: Path) -> None:
    source = write_png(tmp_path / "a.png", photo(64, 64))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        result = run("encode", source, "--weights", tiny_weights)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.exit_code == 8 and len(result.stderr.splitlines()) == 1 and tree(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    "signal_number, code, jobs", [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 2)]
)
def test_an_interrupted_batch_leaves_whole_files_only(
    tmp_path: Path, photo, tiny_weights: Path, signal_number: int, code: int, jobs: int
) -> None:
    first = write_png(tmp_path / "in/000.png", photo(160, 160))
    for i in range(1, 300):
        os.link(first, tmp_path / f"in/{i:03}.png")
    command = [
        *PROGRAM,
        "encode",
        tmp_path / "in",
        "-o",
        tmp_path / "out",
        "--weights",
        tiny_weights,
        "--jobs",
        str(jobs),
    ]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a background job of a shell is born with Ctrl-C ignored, and would pass that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("*.jlc")) and time.monotonic() < deadline:
        time.sleep(0.02)
    if jobs > 1:
        os.killpg(process.pid, signal_number)  # as a terminal does, to the workers too
    else:
        process.send_signal(signal_number)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Traceback" not in stderr
    names = tree(tmp_path / "out")
    assert 0 < len(names) < 300 and all(name.endswith(".jlc") and not name.startswith(".") for name in names)
    for name in names:
        parse((tmp_path / "out" / name).read_bytes())


# --- terminals ---


def test_data_is_not_sent_to_a_terminal() -> None:
    leader, follower = pty.openpty()
    done = subprocess.run([*PROGRAM, "encode", "-"], input=b"", stdout=follower, stderr=subprocess.PIPE)
    os.close(follower)
    os.close(leader)
    assert done.returncode == 2 and b"terminal" in done.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for stderr, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setenv("TERM", "xterm")
        with Progress(3) as progress:
            progress.part(0.5)
            progress.next()
        assert ("1 of 3 files" in stderr.getvalue()) == shown


def test_a_fast_single_file_has_no_bar_and_a_slow_one_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for seconds, shown in ((0.0, False), (5.0, True)):
        stderr = Terminal()
        monkeypatch.setattr(sys, "stderr", stderr)
        with Progress(1) as progress:
            progress._start -= seconds
            progress.part(0.5)
        assert ("50%" in stderr.getvalue()) == shown
