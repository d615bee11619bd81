"""The models that need no path: those of the package, of the user's folder, and of the variable JNDCODEC_WEIGHTS."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import click

from jndcodec.errors import ModelError
from jndcodec.output import writing
from jndcodec.weights import ModelInfo, load_tensors, read_info

DEFAULT_MODEL = "jlc-jnd"
VARIABLE = "JNDCODEC_WEIGHTS"  # folders and weights files, separated as in PATH


def weights_folder() -> Path:
    """Where the shipped weights are: inside the installed package, or beside it in a source tree."""
    inside = Path(__file__).parent / "pretrained"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "weights"


def user_folder() -> Path:
    """Where `add_model` puts weights: in the user's configuration, as the system has it."""
    return Path(click.get_app_dir("jndcodec")) / "weights"


def available_models(unusable: Callable[[ModelError], None] = lambda error: None) -> list[ModelInfo]:
    """All models, each id once, the default one first, then by name. A header is read again where its file changed.

    unusable: called for each file in a folder of the user's that is none of ours, or of another version; such a file
    keeps nobody from the others. Raises ModelError for one that JNDCODEC_WEIGHTS names itself, or that is not there.
    """
    asked, folders = _named()
    paths = [*sorted(weights_folder().glob("*.safetensors")), *asked]
    infos = {info.id: info for info in map(_read, reversed(paths))}
    for folder in (user_folder(), *folders):
        for path in sorted(folder.glob("*.safetensors")):
            try:
                info = _read(path)
                infos.setdefault(info.id, info)
            except ModelError as error:
                unusable(error)
    return sorted(infos.values(), key=lambda info: (info.name != DEFAULT_MODEL, info.name))


def find_by_name(name: str | None) -> ModelInfo:
    """The named model, or the default one; ModelError that lists what there is."""
    models = available_models()
    for info in models:
        if name in (None, info.name):
            return info
    there = ", ".join(info.name for info in models) or "none"
    raise ModelError(f"no model named {name or DEFAULT_MODEL} is installed (there are: {there}); use --weights FILE")


def find_by_id(model_id: bytes) -> ModelInfo | None:
    """The installed model that a .jlc file names, or None."""
    return next((info for info in available_models() if info.id == model_id.hex()), None)


def add_model(path: str | Path) -> ModelInfo:
    """Copy a weights file into the user's folder, checked against its id; what is installed already stays.

    Raises ModelError where it is damaged, or its name is that of another model.
    """
    info = read_info(path)
    load_tensors(info)
    for other in available_models():
        if other.id == info.id:
            return other
        if other.name == info.name:
            raise ModelError(
                f"{path}: another model is named {info.name}: {other.path}; remove that one, or export this one under "
                "another name (jndcodec train --export --name)"
            )
    target = user_folder() / f"{info.id}.safetensors"  # the id has been proved; a name could be any path
    with writing(target) as stream:
        stream.write(info.path.read_bytes())
    return read_info(target)


def _named() -> tuple[list[Path], list[Path]]:
    """The files and the folders in JNDCODEC_WEIGHTS."""
    paths = [Path(name) for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
    for path in paths:
        if not path.exists():
            raise ModelError(f"{VARIABLE} names {path}, which is not there: mend it, or unset it")
    return [path for path in paths if not path.is_dir()], [path for path in paths if path.is_dir()]


def _read(path: Path) -> ModelInfo:
    return _read_once(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _read_once(path: Path, changed: int) -> ModelInfo:
    return read_info(path)
