"""The static page that decodes .jlc files in a browser: its modules, ONNX Runtime Web, the decoder half of models."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np

from jndcodec.errors import DependencyError, ModelError
from jndcodec.weights import ModelInfo, load_tensors

RUNTIME_VERSION = "1.30.0"
RUNTIME_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = (
    "ort.wasm.bundle.min.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.bundle.min.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
MANIFEST = "models.json"
HOW_TO_GET = f"`npm pack onnxruntime-web@{RUNTIME_VERSION}` gets it; then give its file with --runtime"
Site = dict[str, bytes]  # path, with slashes -> content


def site_files(runtime: Path | None, models: Iterable[ModelInfo]) -> Site:
    """All files of the page. runtime: see `runtime_files`; without models (lossless files need none) it is left out.
    Raises DependencyError, ModelError."""
    models = list(models)
    site = {f"runtime/{name}": data for name, data in runtime_files(runtime).items()} if models else {}
    site |= {
        path.name: path.read_bytes() for path in files("jndcodec.web").joinpath("page").iterdir() if path.is_file()
    }
    about = {}
    for info in models:
        listed = {}
        for part, data in model_files(info).items():
            packed = pack(data)
            name = f"models/{info.id}-{part}-{hashlib.sha256(packed).hexdigest()[:8]}.z"  # what browsers keep forever
            site[name], listed[part] = packed, {"name": name, "bytes": len(data)}
        about[info.id] = {"name": info.name, "config": info.config, "halo": halo(info.config), "files": listed}
    site[MANIFEST] = json.dumps({"models": about}).encode()
    return site


def runtime_files(source: Path | None) -> dict[str, bytes]:
    """What the page needs of the npm package onnxruntime-web, from its .tgz file or the folder it was unpacked or
    installed in. DependencyError where it is missing or another version."""
    if source is None:
        raise DependencyError(f"the page needs ONNX Runtime Web {RUNTIME_VERSION}: {HOW_TO_GET}")
    try:
        if source.is_dir():
            version = json.loads((source / "package.json").read_text(encoding="utf-8"))["version"]
            found = {name: (source / "dist" / name).read_bytes() for name in RUNTIME_FILES}
        else:
            digest = base64.b64encode(hashlib.sha512(source.read_bytes()).digest()).decode()
            version = RUNTIME_VERSION if digest == RUNTIME_SHA512 else "unknown"
            with tarfile.open(source) as archive:
                members = {name: archive.extractfile(f"package/dist/{name}") for name in RUNTIME_FILES}
                found = {name: member.read() for name, member in members.items() if member}
    except (OSError, KeyError, ValueError, tarfile.TarError):
        raise DependencyError(f"{source}: not the npm package onnxruntime-web: {HOW_TO_GET}") from None
    if version != RUNTIME_VERSION:
        raise DependencyError(f"{source}: not onnxruntime-web {RUNTIME_VERSION}, but version {version}: {HOW_TO_GET}")
    return found


def model_files(info: ModelInfo) -> dict[str, bytes]:
    """The decoder half of a weights file: `tensors` (safetensors), and graphs (ONNX). ModelError if it is damaged."""
    from safetensors.numpy import save

    from jndcodec.model import graphs

    tensors = load_tensors(info)
    try:
        made = {"hyper": graphs.hyper_graph(info.config, tensors)}
        made |= {f"context_{step}": graphs.context_graph(info.config, tensors, step) for step in graphs.LATER_STEPS}
        made |= {"synthesis": graphs.synthesis_graph(info.config, tensors)}
    except KeyError as error:
        raise ModelError(f"{info.path}: its tensors do not fit its config: {error}") from error
    return {"tensors": save(_numbers(info, tensors))} | {
        name: graph.SerializeToString(deterministic=True) for name, graph in made.items()
    }


def _numbers(info: ModelInfo, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the page reads itself: the integers, and the decoder's gains, (K, channels) natural logarithms each."""

    def log(name: str) -> np.ndarray:
        return tensors[f"float.{name}.log_gain"]

    kept = {name: value for name, value in tensors.items() if name.startswith(("tables.", "scale_net."))}
    kept["recon_shift"] = tensors["float.recon_shift"]
    kept["sigma"] = log("scale_y")[:, : info.config["m"]]
    kept["gain"] = log("gain_y_inverse") - log("gain_y")
    kept["gain_s"] = log("gain_s") - log("gain_a")
    return {name: np.ascontiguousarray(value) for name, value in kept.items()}


def pack(data: bytes) -> bytes:
    """A zlib stream of the bytes at even places, then of the others: a seventh less, since of a float16 only the upper
    byte can be guessed. Little repeats in it, so short repetitions are not searched for."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    return deflater.compress(data[0::2] + data[1::2]) + deflater.flush()


def halo(config: Mapping[str, int]) -> int:
    """Reach of the synthesis beyond an element of y, in elements of y (as in jndcodec.model.transforms)."""
    return math.ceil((config["s8"] + 1) / 2) + config["s16"]
