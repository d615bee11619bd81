"""Files out: whole or not at all."""

from __future__ import annotations

import errno
import os
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


def check_output(path: str | Path, force: bool) -> None:
    """Raise OutputError if `path` cannot be the output: a folder, or an existing file without `force`.

    Cheap, so that it can run before the work as well as after it.
    """
    if str(path) == STDOUT:
        return
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    if path.exists() and not force and not is_device(path):
        raise OutputError(f"{path}: exists already; overwrite it with --force, or choose another name with -o")


@contextmanager
def writing(path: str | Path, force: bool = False) -> Iterator[BinaryIO]:
    """A seekable binary stream whose content becomes `path` when the block ends, and vanishes when it raises.

    The bytes go to a hidden file beside `path`, which takes its name at the end by one rename: a full disk, an error or
    Ctrl-C leaves nothing, and no reader sees half a file. No fsync: a power cut may lose the file, as with any copy.
    Missing folders are made. Standard output ("-"), devices and pipes are written in one piece at the end.
    Raises OutputError.
    """
    check_output(path, force)
    try:
        if str(path) == STDOUT:
            buffer = BytesIO()
            yield buffer
            sys.stdout.buffer.write(buffer.getbuffer())
            sys.stdout.buffer.flush()
        elif is_device(Path(path)):
            buffer = BytesIO()
            yield buffer
            with open(path, "wb", buffering=0) as stream:
                stream.write(buffer.getbuffer())
        else:
            with _beside(Path(os.path.realpath(path)), force) as stream:  # a link stays one: its target is replaced
                yield stream
    except OSError as error:
        raise OutputError(f"{path}: {_reason(error)}") from error


@contextmanager
def _beside(path: Path, force: bool) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
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


def is_device(path: Path) -> bool:
    """/dev/stdout, /dev/null, a named pipe: there is nothing to rename onto."""
    return path.exists() and not path.is_file() and not path.is_dir()


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
        errno.EPIPE: "the program that reads the output has closed it",
    }.get(error.errno or 0, f"cannot be written ({error.strerror or error}); choose another place with -o")
