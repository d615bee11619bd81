"""Folders and buckets: whatever pyarrow or fsspec opens, by path or URI."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from pyarrow import ArrowInvalid, fs

from jndcodec.errors import InputError

PART = ".jndcodec-part"  # ends the name of a local file that is being written; a killed worker leaves it behind


@dataclass(frozen=True)
class Place:
    """`root` on a file system. Names in it are relative, with slashes between folders."""

    system: fs.FileSystem
    root: str

    @classmethod
    def at(cls, uri: str) -> Place:
        """A path of this machine, or a URI: s3://bucket/folder, gs://…, file:///…, or any scheme of fsspec's.

        S3: credentials are found as AWS's own tools find them; with `?endpoint_override=HOST:PORT&scheme=http` another
        server is asked. Raises InputError.
        """
        if "://" not in uri:
            return cls(fs.LocalFileSystem(), os.path.abspath(uri))
        try:
            system, root = _system(uri)
            return cls(system, root.rstrip("/"))
        except (ImportError, ValueError, OSError) as error:
            raise InputError(f"{uri}: cannot be opened ({' '.join(str(error).split())})") from error

    @property
    def local(self) -> bool:
        return isinstance(self.system, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def is_file(self, name: str = "") -> bool:
        return self.system.get_file_info(self.path(name)).is_file

    def sizes(self, folder: str = "") -> dict[str, int]:
        """{name: bytes} of all files under a folder, at any depth; empty where there is none. Where a server does
        not tell the bytes: 0."""
        selector = fs.FileSelector(self.path(folder), allow_not_found=True, recursive=True)
        start = len(self.root) + 1
        return {info.path[start:]: info.size or 0 for info in self.system.get_file_info(selector) if info.is_file}

    def read(self, name: str) -> bytes:
        with self.system.open_input_stream(self.path(name)) as stream:
            return stream.read()

    def open(self, name: str) -> BinaryIO:
        """For reading, in any order."""
        return self.system.open_input_file(self.path(name))

    def delete(self, name: str) -> None:
        try:
            self.system.delete_file(self.path(name))
        except OSError:  # pyarrow then writes an empty object for the folder, which some stores refuse
            if self.is_file(name):
                raise

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A binary stream whose content becomes `name`, whole, when the block ends, and vanishes when it raises.

        On this machine's disks it is written beside its place and renamed; for a store, which shows an object when all
        of it has arrived, it is written to a temporary file and sent.
        """
        path = self.path(name)
        if self.local:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            handle, part = tempfile.mkstemp(PART, ".", os.path.dirname(path))
            try:
                with open(handle, "wb") as stream:
                    yield stream
                os.chmod(part, 0o666 & ~_umask())
                os.replace(part, path)
            except BaseException:
                os.unlink(part)
                raise
        else:
            with tempfile.TemporaryFile() as stream:
                yield stream
                stream.seek(0)
                with self.system.open_output_stream(path) as target:
                    shutil.copyfileobj(stream, target)

    def sweep(self) -> None:
        """Remove what killed workers have left behind; only while nobody writes here."""
        if self.local:
            for folder, _, files in os.walk(self.root):
                for file in files:
                    if file.endswith(PART):
                        os.unlink(os.path.join(folder, file))


def _system(uri: str) -> tuple[fs.FileSystem, str]:
    try:
        return fs.FileSystem.from_uri(uri)
    except ArrowInvalid:  # not one of pyarrow's own
        from fsspec.core import url_to_fs

        system, root = url_to_fs(uri)
        return fs.PyFileSystem(fs.FSSpecHandler(system)), root


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
