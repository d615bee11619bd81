"""Weights files: one safetensors file per model, float16 kernels beside the integers that decide symbols.

The metadata key `jndcodec` holds JSON: name, loss, architecture, config, calibration, training record. The model id
is a hash over config and tensors, so it names exactly what a file was made with. Listing reads headers only; nothing
here needs torch (`jndcodec.model.build` makes the float model). `jndcodec.installed` says which models there are.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jndcodec.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

    from jndcodec.entropy.scale_network import ScaleNetwork

FORMAT = 1
ARCHITECTURE = "jlc-vbr"
METADATA_KEY = "jndcodec"
MAX_HEADER = 1 << 22  # bytes of JSON that a weights file may begin with
FLOAT_PREFIX = "float."  # parameters of the float model
SCALE_NET = "scale_net."  # its integer twin stands in the file instead


@dataclass(frozen=True)
class ModelInfo:
    """What a weights file says about itself. `id` is 16 hexadecimal digits; `calibration` maps rate knobs to results:
    `t_1jnd` (t at one JND), `jnd` (what was measured there), `points`, a list of {t, bpp, psnr, ssimulacra2}."""

    name: str
    id: str
    loss: str
    path: Path
    config: dict[str, int]
    parameters: int
    kmac_per_px: dict[str, float]
    calibration: dict[str, Any]
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def t_1jnd(self) -> float:
        return float(self.calibration["t_1jnd"])

    @property
    def bpp_range(self) -> tuple[float, float] | None:
        """Mean bits per pixel at t = 0 and t = 1 on the calibration pictures."""
        rates = [point["bpp"] for point in self.calibration.get("points", [])]
        return (min(rates), max(rates)) if rates else None


def read_info(path: str | Path) -> ModelInfo:
    """Read the header of a weights file; ModelError if it is missing or not one of ours."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= min(MAX_HEADER, os.fstat(file.fileno()).st_size):
                raise ModelError(f"{path}: not a weights file of jndcodec")
            about = json.loads(json.loads(file.read(size))["__metadata__"][METADATA_KEY])
    except FileNotFoundError:
        raise ModelError(f"{path}: no such weights file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot read the weights file: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path}: not a weights file of jndcodec") from error
    if about.pop("format", None) != FORMAT or about.pop("architecture", None) != ARCHITECTURE:
        raise ModelError(f"{path}: weights of a newer jndcodec: upgrade it")
    try:
        return ModelInfo(path=path, **about)
    except TypeError as error:
        raise ModelError(f"{path}: not a weights file of jndcodec") from error


def is_foreign(path: str | Path) -> bool:
    """Whether a file holds tensors, but not ours: a torch checkpoint, or safetensors without our metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as file:
            if file.read(2) in (b"PK", b"\x80\x02"):  # zip, or the pickle that torch wrote before
                return True
        with safe_open(path, "np") as tensors:
            return METADATA_KEY not in (tensors.metadata() or {})
    except (OSError, SafetensorError):
        return False


def model_id(config: dict[str, int], tensors: dict[str, np.ndarray]) -> str:
    """First 8 bytes of SHA-256 over config and tensors (names, types, shapes, little-endian bytes), in hexadecimal."""
    import numpy as np

    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} torch.{tensor.dtype} {list(tensor.shape)}\n".encode())  # ids are older than numpy here
        digest.update(tensor.data)
    return digest.hexdigest()[:16]


def load_tensors(info: ModelInfo) -> dict[str, np.ndarray]:
    """All tensors of a weights file, checked against its id; ModelError if they differ."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(info.path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{info.path}: damaged weights file: {error}") from error
    if model_id(info.config, tensors) != info.id:
        raise ModelError(f"{info.path}: damaged weights file: its contents do not match its id; get it again")
    return tensors


def read_scale_network(tensors: dict[str, np.ndarray]) -> ScaleNetwork:
    """The ScaleNetwork in a file; the proof of its bound is repeated on the numbers that were read."""
    from jndcodec.entropy.scale_network import IntegerConv, ScaleNetwork

    form = tensors[f"{SCALE_NET}form"].tolist()  # (layers, 3): shift, upsample, relu
    part = {
        key.removeprefix(SCALE_NET): value.astype("float64")
        for key, value in tensors.items()
        if key.startswith(SCALE_NET)
    }
    layers = [
        IntegerConv(part[f"{i}.weight"], part[f"{i}.bias"], shift, bool(upsample), bool(relu))
        for i, (shift, upsample, relu) in enumerate(form)
    ]
    return ScaleNetwork(layers, part["index_y"], part["index_z"])
