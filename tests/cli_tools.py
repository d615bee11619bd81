"""The command line in this process, for tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from jndcodec.cli import cli


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    """Run `jndcodec ARGUMENTS`; an exception that is no exit is a failure of the test."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write_png(path: Path, samples: np.ndarray, mode: str | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(samples, mode).save(path, "PNG", **options)
    return path


def open_picture(source: Path | bytes) -> Image.Image:
    image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    image.load()
    return image


def tree(folder: Path) -> list[str]:
    """Every file under a folder, hidden ones too, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
