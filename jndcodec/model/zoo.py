"""Models of CompressAI's zoo (Bégaint et al. 2020, arXiv 2011.03029) behind the native model's interface.

Architecture and widths are found from the names and shapes in a checkpoint. These models compute the table of every
symbol in floats, so another machine or library version may compute another one, and the rest of the stream is noise:
their files are marked "float entropy" and carry the checksum of the symbols, which turns noise into an error.
"""

from __future__ import annotations

import hashlib
import importlib
import pickle
import re
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jndcodec.errors import DependencyError, LimitError, ModelError, SymbolError
from jndcodec.model.interface import Compressed, Progress, silent, size_of
from jndcodec.model.zoo_coder import Coder, StepwiseCoder, crc
from jndcodec.weights import ModelInfo

CLASSES = {
    "bmshj2018-hyperprior": "ScaleHyperprior",
    "mbt2018-mean": "MeanScaleHyperprior",
    "cheng2020-anchor": "Cheng2020Anchor",
}
STRIDE = 64  # of z in pixels
CELL = 4  # elements of y per element of z, on a side
MAX_PIXELS = 1 << 25  # whole pictures go through float32 layers at half resolution: some 300 bytes for each pixel
MAX_WIDTH = 1024  # channels; the zoo's have 128 to 320
MAX_QUANTILE = 1 << 12  # width of z's tables; real ones stay below 100
# Tables that `update` makes from the parameters. A checkpoint may hold them or not, from this version or another.
TABLES = {
    "entropy_bottleneck.": ("_quantized_cdf", "_offset", "_cdf_length"),
    "gaussian_conditional.": ("_quantized_cdf", "_offset", "_cdf_length", "scale_table"),
}
MADE = frozenset(prefix + name for prefix, names in TABLES.items() for name in names)


class ZooModel:
    """Codes pictures with one checkpoint, in float32 on the CPU, at the one rate that it was trained for."""

    exact = False
    variable_rate = False
    engine = "torch"

    def __init__(self, path: str | Path, device: str = "auto") -> None:
        """ModelError where the file is not a checkpoint of one of the three architectures."""
        path = Path(path)
        if device not in ("auto", "cpu"):
            raise ModelError(f"CompressAI models code on the CPU only: leave out --device {device}")
        state, notes = read_checkpoint(path)
        self.name = architecture(state, path)
        self.id = checkpoint_id(self.name, state)
        self.net = build(self.name, state, path)
        self.coder_z, self.coder_y = Coder(), Coder()
        if self.name == "cheng2020-anchor":
            self.coder_y = stepwise = StepwiseCoder()
            _give_names(self.net, lambda: stepwise)
        self.net.entropy_bottleneck.entropy_coder = self.coder_z
        self.net.gaussian_conditional.entropy_coder = self.coder_y
        self.info = ModelInfo(
            name=self.name,
            id=self.id.hex(),
            loss=str(notes.get("loss", "unknown")),
            path=path,
            config={"N": self.net.N, "M": self.net.M},
            parameters=sum(parameter.numel() for parameter in self.net.parameters()),
            kmac_per_px={},
            calibration={},
            record=notes,
        )

    @torch.inference_mode()
    def compress(self, rgb: np.ndarray, t: int, dead_zone: float = 1.0, progress: Progress = silent) -> Compressed:
        """Code a picture. t, dead_zone and progress change nothing. LimitError over MAX_PIXELS."""
        size = size_of(rgb)
        rows, columns = _cells(size)
        padding = [(0, rows * STRIDE - size[0]), (0, columns * STRIDE - size[1]), (0, 0)]
        x = torch.from_numpy(np.pad(rgb, padding, mode="edge")).permute(2, 0, 1)[None].float().div_(255)
        out = self.net.compress(x)
        (y,), (z,) = out["strings"]
        checksum = crc(self.coder_z, self.coder_y)
        return Compressed(z, y, checksum, lambda: self.decompress(z, y, checksum, t, size))

    @torch.inference_mode()
    def decompress(
        self, z: bytes, y: bytes, symbols_crc: int, t: int, size: tuple[int, int], progress: Progress = silent
    ) -> np.ndarray:
        """The picture of `size` = (H, W); FormatError, LimitError, SymbolError."""
        rows, columns = _cells(size)
        if isinstance(self.coder_y, StepwiseCoder):
            self.coder_y.count = self.net.M * rows * columns * CELL**2
        x_hat = self.net.decompress([[y], [z]], (rows, columns))["x_hat"]
        if crc(self.coder_z, self.coder_y) != symbols_crc:
            raise SymbolError(
                f"the symbols differ from those that were encoded, though the file is whole: {self.name} computes "
                "its probability tables in floats, and this machine or library version computed others; "
                "decode it where it was encoded"
            )
        rgb = x_hat[0, :, : size[0], : size[1]].mul(255).round_().to(torch.uint8)
        return rgb.permute(1, 2, 0).contiguous().numpy()


def _cells(size: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of z."""
    rows, columns = -(-size[0] // STRIDE), -(-size[1] // STRIDE)
    if rows * columns * STRIDE**2 > MAX_PIXELS:
        raise LimitError(
            f"{size[1]} x {size[0]} is over the {MAX_PIXELS} pixels that a CompressAI model can take, "
            "since it works on the whole picture at once: use a native model"
        )
    return rows, columns


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(parameters by their names in the published zoo, what the file says about its training). No pickled code runs.

    Takes a state dict, one wrapped as {"state_dict": …}, and safetensors; names of older versions and of parallel
    training are translated, and the tables that `update` makes anew are left out.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with open(path, "rb") as file:
            torch_made = file.read(2) in (b"PK", b"\x80\x02")
        content = torch.load(path, map_location="cpu", weights_only=True) if torch_made else load_file(path)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        raise ModelError(f"{path}: not a checkpoint, or a damaged one; get it again") from error
    notes = content.get("record") if isinstance(content, dict) else None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise _not_one_of_them(path)
    state = {_published_name(key): value for key, value in content.items()}
    return {key: value for key, value in state.items() if key not in MADE}, notes if isinstance(notes, dict) else {}


def _published_name(key: str) -> str:
    key = key.removeprefix("module.").replace(".downsample.", ".skip.")
    singular = {"matrices": "matrix", "biases": "bias", "factors": "factor"}
    match = re.fullmatch(r"entropy_bottleneck\._?(matrices|biases|factors)\.(\d)", key)
    return f"entropy_bottleneck._{singular[match[1]]}{match[2]}" if match else key


def architecture(state: dict[str, Tensor], path: Path) -> str:
    """Which of the three a checkpoint is of; ModelError if none."""
    names = state.keys()
    if "g_a.0.conv1.weight" in names and "context_prediction.weight" in names:
        return "cheng2020-anchor"
    if {"g_a.0.weight", "g_a.6.weight", "h_s.4.weight"} <= names and "context_prediction.weight" not in names:
        scales_and_means = len(state["h_s.4.weight"]) == 2 * len(state["g_a.6.weight"])
        return "mbt2018-mean" if scales_and_means else "bmshj2018-hyperprior"
    raise _not_one_of_them(path)


def _not_one_of_them(path: Path) -> ModelError:
    return ModelError(f"{path}: neither weights of jndcodec nor a CompressAI checkpoint of {', '.join(CLASSES)}")


def checkpoint_id(name: str, state: dict[str, Tensor]) -> bytes:
    """First 8 bytes of SHA-256 over architecture and tensors (names, types, shapes, little-endian bytes)."""
    digest = hashlib.sha256(name.encode())
    for key in sorted(state):
        tensor = state[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.digest()[:8]


def build(name: str, state: dict[str, Tensor], path: Path) -> Any:
    """CompressAI's own module, which has no types, with its tables made, in evaluation mode; ModelError where tensors
    do not fit."""
    quantiles = state.get("entropy_bottleneck.quantiles")
    if quantiles is None or not quantiles.abs().max() < MAX_QUANTILE or max(map(_width, state.values())) > MAX_WIDTH:
        raise ModelError(f"{path}: looks like {name}, but is no network that could have been trained; get it again")
    empty = {key: torch.empty(0) if key.endswith("scale_table") else torch.IntTensor() for key in MADE}
    try:
        net = getattr(_models(), CLASSES[name]).from_state_dict(state | empty)
        net.update(force=True)
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"{path}: looks like {name}, but its tensors do not fit: {reason}") from error
    return net.eval()


def _width(value: Tensor) -> int:
    return max(value.shape, default=1)


def _models() -> types.ModuleType:
    try:
        with warnings.catch_warnings():  # CompressAI uses what torch has deprecated
            warnings.simplefilter("ignore")
            return importlib.import_module("compressai.models")
    except ImportError:
        raise DependencyError("CompressAI checkpoints need CompressAI: pip install compressai") from None


def _give_names(net: nn.Module, coder: Callable[[], StepwiseCoder]) -> None:
    """Let an autoregressive model find `coder` where it names rANS classes of its module: copies of its two methods
    that see other globals, on this object alone."""
    for method in ("_compress_ar", "_decompress_ar"):
        original = getattr(type(net), method)
        names = original.__globals__ | {"BufferedRansEncoder": coder, "RansDecoder": coder}
        setattr(net, method, types.MethodType(types.FunctionType(original.__code__, names, method), net))
