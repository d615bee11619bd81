"""Our models, and checkpoints of CompressAI's, as coders of an evaluation.

A model of ours has all its rates in one file: its settings are the quality from 0 to 100. A CompressAI checkpoint has
one rate, so a folder of them makes one curve, whose settings count its files in the order of their names.
`@N` behind a model of ours has it encode with effort N.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jndcodec.effort import level_of
from jndcodec.errors import ArgumentError, ModelError
from jndcodec.evaluate.codecs import QUALITY, Coder
from jndcodec.installed import DEFAULT_MODEL, available_models, find_by_name
from jndcodec.lossless import DEFAULT_EFFORT
from jndcodec.weights import is_foreign, read_info

if TYPE_CHECKING:
    from jndcodec.codec import Codec

QUALITIES = (0.0, 12.5, 25.0, 37.5, 50.0, 62.5, 75.0, 87.5, 100.0)


@dataclass(frozen=True)
class ModelCoder:
    """`encode`, `decode` and `prepare` of a Coder; each process loads what it needs once.

    files: one weights file for all settings, or (one_each) the file of setting 1, 2, ...; effort: of our own models.
    """

    files: tuple[str, ...]
    one_each: bool
    effort: int
    device: str
    precision: str

    def prepare(self) -> None:
        for file in self.files:
            _codec(file, self.device, self.precision)

    def encode(self, rgb: np.ndarray, setting: float) -> bytes:
        from PIL import Image

        image = Image.fromarray(rgb)
        if not self.one_each:
            codec = _codec(self.files[0], self.device, self.precision)
            return codec.encode(image, quality=setting, effort=self.effort, lossless=False)
        return _codec(self.files[round(setting) - 1], self.device, self.precision).encode(image, lossless=False)

    def decode(self, data: bytes) -> np.ndarray:
        from jndcodec.container.jlc import parse

        jlc = parse(data)
        for file in self.files:
            codec = _codec(file, self.device, self.precision)
            if jlc.lossless or codec.id == jlc.model_id:
                return np.asarray(codec.decode(data).convert("RGB"))
        raise ModelError(f"none of {', '.join(self.files)} made this file")


@lru_cache(maxsize=16)
def _codec(file: str, device: str, precision: str) -> Codec:
    from jndcodec.codec import Codec

    return Codec(weights=file, device=device, precision=precision)


def model_coder(spec: str, device: str = "auto", precision: str = "auto") -> Coder:
    """An installed model by its name, a weights file, a CompressAI checkpoint, or a folder of such checkpoints.

    spec: any of these, or NAME=any of these, to have it called so; SPEC@5 encodes with effort 5, which takes a model of
    ours. ModelError where there is none, ArgumentError for an effort that it cannot have.
    """
    label, name, effort = _parts(spec)
    path = Path(name)
    if not path.exists() or name in [info.name for info in available_models()]:
        info = find_by_name(name)
        coder, made_of = ModelCoder((str(info.path),), False, effort, device, precision), info.id
        label = label or info.name
    elif path.is_file() and not is_foreign(path):
        coder, made_of = ModelCoder((name,), False, effort, device, precision), read_info(path).id
        label = label or path.stem
    else:
        files = (path,) if path.is_file() else tuple(sorted(p for p in path.iterdir() if p.is_file() and is_foreign(p)))
        if not files:
            raise ModelError(f"{path}: no checkpoints in this folder; name the weights file itself")
        if effort != DEFAULT_EFFORT:
            raise ArgumentError(f"{spec}: CompressAI's checkpoints have one effort; leave @{effort} out")
        made_of = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()
        coder = ModelCoder(tuple(map(str, files)), True, effort, device, precision)
        label = label or path.name.split(".")[0]
    return _coder(label, made_of, coder)


def _parts(spec: str) -> tuple[str, str, int]:
    """(what to call it or "", name or path, effort); a path that exists is taken as it stands."""
    label, effort = "", DEFAULT_EFFORT
    name, asked, number = spec.rpartition("@")
    if asked and "=" not in number and not Path(spec).exists():
        if not name or not number.isdecimal():
            raise ArgumentError(f"'{spec}': before @ stands a model, behind it an effort, as in {DEFAULT_MODEL}@5")
        level_of(int(number))
        spec, effort = name, int(number)
    name, named, rest = spec.partition("=")
    if named and not Path(spec).exists():
        label, spec = name, rest
    return label, spec, effort


def _coder(name: str, made_of: str, coder: ModelCoder) -> Coder:
    count = len(coder.files)
    settings = tuple(float(i) for i in range(1, count + 1)) if coder.one_each else QUALITIES
    limits = (1.0, float(count)) if coder.one_each else QUALITY
    version = f"{made_of}, device {coder.device}, precision {coder.precision}"
    if coder.effort != DEFAULT_EFFORT:
        name, version = f"{name}@{coder.effort}", f"{version}, effort {coder.effort}"
    return Coder(
        name, name, ".jlc", settings, version, coder.encode, coder.decode, True, coder.prepare, coder.one_each, limits
    )  # fmt: skip
