"""Files out: whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from jndcodec.errors import OutputError

STDOUT = "-"
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_OPENED = re.compile(r"/dev/fd/(\d+)|/proc/(?:self|thread-self|(?P<process>\d+))/fd/(?P<number>\d+)")
_MOST_LINKS = 40  # as the system follows


def descriptor(path: str | Path) -> int | None:
    """The number of the open file that a path is: "-", /dev/stdout, /dev/fd/N, /proc/self/fd/N or a link to one.

    None for other paths. What the shell has opened is written through, never replaced.
    """
    name = str(path)
    if name == STDOUT:
        return 1
    for _ in range(_MOST_LINKS):
        name = os.path.abspath(name)
        if name in _STANDARD:
            return _STANDARD[name]
        match = _OPENED.fullmatch(name)
        if match and match["process"] in (None, str(os.getpid())):
            return int(match[1] or match["number"])
        try:
            name = os.path.join(os.path.dirname(name), os.readlink(name))
        except OSError:  # no link, as a rule
            break
    return None


def check_output(path: str | Path, force: bool) -> None:
    """Raise OutputError if `path` cannot be the output: a folder, or an existing file without `force`.

    Cheap, so that it can run before the work as well as after it.
    """
    if descriptor(path) is not None:
        return
    if os.path.isdir(path):
        raise OutputError(f"{path}: is a folder; name a file in it")
    if os.path.exists(path) and not force and not is_device(path):
        raise OutputError(f"{path}: exists already; overwrite it with --force, or choose another name with -o")


@contextmanager
def writing(path: str | Path, force: bool = False) -> Iterator[BinaryIO]:
    """A seekable binary stream whose content becomes `path` when the block ends, and vanishes when it raises.

    The bytes go to a hidden file beside `path`, which takes its name at the end by one rename: a full disk, an error or
    Ctrl-C leaves nothing, and no reader sees half a file. No fsync: a power cut may lose the file, as with any copy.
    Missing folders are made. What is open (`descriptor`), devices and pipes are written in one piece at the end.
    Raises OutputError.
    """
    check_output(path, force)
    number = descriptor(path)
    try:
        if number == 1:
            buffer = BytesIO()
            yield buffer
            sys.stdout.buffer.write(buffer.getbuffer())
            sys.stdout.buffer.flush()
        elif number is not None or is_device(path):
            buffer = BytesIO()
            yield buffer
            with open(path if number is None else os.dup(number), "wb") as stream:
                stream.write(buffer.getbuffer())
        else:
            with _beside(Path(os.path.realpath(path)), force) as stream:  # a link stays one: its target is replaced
                yield stream
    except OSError as error:
        raise OutputError(f"{path}: {_reason(error)}") from error


@contextmanager
def _beside(path: Path, force: bool) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # names end at 255 bytes, and a letter takes up to 4
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:20]}.", suffix=".part", dir=path.parent)
    try:
        with open(handle, "w+b") as stream:
            yield stream
        os.chmod(name, _mode(path))
        check_output(path, force)  # it may have appeared meanwhile
        os.replace(name, path)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            os.unlink(name)
        raise


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, or what open() would give a new one (mkstemp gives 0600)."""
    with suppress(OSError):
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def check_folder(path: Path, force: bool, mark: str) -> None:
    """Raise OutputError if `path` cannot become a folder of files: it exists and is not empty. With `force` it may hold
    what is replaced, which has a file named `mark`: nothing else is ever deleted."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / mark).is_file():
        raise OutputError(f"{path}: exists and is something else; name a new folder")
    if not force:
        raise OutputError(f"{path}: exists already; replace it with --force, or name another folder")


def write_folder(path: Path, files: Mapping[str, bytes], force: bool, mark: str) -> None:
    """Make a folder of files (paths with slashes -> content), all of them or nothing. See `check_folder`."""
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent))
        for name, data in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(data)
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o777 & ~mask)  # mkdtemp gives 0700
        check_folder(path, force, mark)  # it may have appeared meanwhile
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: {_reason(error)}") from error
    finally:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)


def is_device(path: str | Path) -> bool:
    """/dev/null, a named pipe: there is nothing to rename onto."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _reason(error: OSError) -> str:
    return {
        errno.ENOSPC: "the disk is full; free some space or choose another folder with -o",
        errno.EDQUOT: "the disk quota is used up; free some space or choose another folder with -o",
        errno.EFBIG: "the file is larger than the system allows here; choose another folder with -o",
        errno.EACCES: "no permission to write there; choose another folder with -o",
        errno.EPERM: "no permission to write there; choose another folder with -o",
        errno.EROFS: "the file system is read-only; choose another folder with -o",
        errno.ENOTDIR: "a part of its path is a file, not a folder; choose another folder with -o",
        errno.EEXIST: "a part of its path is a file, not a folder; choose another folder with -o",
        errno.ENAMETOOLONG: "the name is too long; choose a shorter one with -o",
        errno.EBADF: "nothing is open under that number; send it there with the shell, or name a file",
        errno.EPIPE: "the program that reads the output has closed it",
    }.get(error.errno or 0, f"cannot be written ({error.strerror or error}); choose another place with -o")
