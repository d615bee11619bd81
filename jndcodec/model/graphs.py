"""The decoder's float networks as ONNX graphs, made from the tensors of a weights file without torch.

Kernels stay as the file has them (float16) and are cast when a runtime loads them; all arithmetic is float32. Heights
and widths are free. `JlcVbr` of jndcodec.model.vbr is the definition; the tests compare with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # what every ONNX Runtime of the last years reads
IR_VERSION = 8
SLOPE = 0.1  # of the leaky ReLU
REACH = 0.1  # of slim blocks
LATER_STEPS = (1, 2, 3)  # the first step of context sees the features alone

Config = Mapping[str, int]
Tensors = Mapping[str, np.ndarray]  # with the names of a weights file


class GraphBuilder:
    """Nodes and constants of one graph; methods take and return names of values."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output, which is named after it."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """A constant in float32, stored in the type that it has."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return self.add("Cast", name, to=TensorProto.FLOAT) if value.dtype != np.float32 else name

    def conv(self, x: str, layer: str, scale: float = 1.0) -> str:
        """A convolution that keeps the size, with the kernel and bias of `layer`, both times `scale`."""
        kernel = self.tensors[f"float.{layer}.weight"]
        parts = [self.constant(f"{layer}.{part}", self.tensors[f"float.{layer}.{part}"]) for part in ("weight", "bias")]
        if scale != 1:
            factor = self.constant(f"x{scale:g}", np.array(scale, np.float32))
            parts = [self.add("Mul", part, factor) for part in parts]  # folded when the graph is loaded
        return self.add("Conv", x, *parts, pads=[kernel.shape[2] // 2] * 4)

    def relu(self, x: str) -> str:
        return self.add("Relu", x)

    def slims(self, x: str, layers: str, count: int) -> str:
        """Slim blocks `layers`.0 …"""
        for i in range(count):
            h = self.add("LeakyRelu", self.conv(x, f"{layers}.{i}.enter"), alpha=SLOPE)
            h = self.add("LeakyRelu", self.conv(h, f"{layers}.{i}.mix"), alpha=SLOPE)
            x = self.add("Add", x, self.conv(h, f"{layers}.{i}.leave", REACH))
        return x

    def channels(self, x: str, name: str, chosen: np.ndarray) -> str:
        """Those channels of x that `chosen`, booleans, says."""
        self.constants[name] = numpy_helper.from_array(np.flatnonzero(chosen), name)
        return self.add("Gather", x, name, axis=1)

    def shuffle(self, x: str, size: int = 2) -> str:
        """PixelShuffle: channel c · size² + size · row + column."""
        return self.add("DepthToSpace", x, blocksize=size, mode="CRD")

    def model(self, inputs: Mapping[str, int], outputs: Mapping[str, tuple[str, int]]) -> onnx.ModelProto:
        """The graph. inputs: name -> channels; outputs: name -> (value, channels). All are (1, C, height, width)."""
        for name, (value, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name]))
        size = {name: (1, channels, f"{name}_height", f"{name}_width") for name, channels in inputs.items()}
        size |= {name: (1, channels, f"{name}_height", f"{name}_width") for name, (_, channels) in outputs.items()}
        values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in size.items()}
        graph = helper.make_graph(
            self.nodes,
            "jlc-vbr",
            [values[name] for name in inputs],
            [values[name] for name in outputs],
            list(self.constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="jndcodec")
        model.ir_version = IR_VERSION
        return model


def hyper_graph(config: Config, tensors: Tensors) -> onnx.ModelProto:
    """h_s and the first means: z_hat (1, cz, h, w) -> features (1, 2d, 4h, 4w), mean (1, m, 4h, 4w) in units of σ."""
    g = GraphBuilder(tensors)
    x = g.relu(g.shuffle(g.conv("z_hat", "h_s.0")))
    x = g.relu(g.conv(x, "h_s.3"))
    x = g.relu(g.shuffle(g.conv(x, "h_s.5")))
    features = g.relu(g.conv(x, "h_s.8"))
    mean = g.conv(features, "mean_0")
    return g.model({"z_hat": config["cz"]}, {"features": (features, 2 * config["d"]), "mean": (mean, config["m"])})


def context_graph(config: Config, tensors: Tensors, step: int) -> onnx.ModelProto:
    """Means of one later step: y_units (1, m, h, w), y_hat in units of σ, limited to ±8, and features (1, 2d, h, w) ->
    mean (1, m, h, w)."""
    g, layer = GraphBuilder(tensors), f"context.{step - 1}"
    p = g.relu(g.conv(g.add("Concat", "y_units", "features", axis=1), f"{layer}.enter"))
    mean = g.conv(g.add("Add", g.relu(g.conv(p, f"{layer}.mix")), p), f"{layer}.leave")
    return g.model({"y_units": config["m"], "features": 2 * config["d"]}, {"mean": (mean, config["m"])})


def synthesis_graph(config: Config, tensors: Tensors) -> onnx.ModelProto:
    """Everything after the symbols: y (1, m, h, w) and detail (1, detail, h, w), both times the decoder's gains, and
    the gains of g_s (1, c8, 1, 1) -> x_hat (1, 3, 16h, 16w), not clamped."""
    g = GraphBuilder(tensors)
    quarter, linear = config["m"] // 4, config["linear"] // 4  # each quarter ends with a quarter of the linear part
    is_linear = np.arange(config["m"]) % quarter >= quarter - linear
    u = g.slims(g.conv(g.channels("y", "main", ~is_linear), "g_s_16.0"), "g_s_16.1", config["s16"])
    u = g.shuffle(g.conv(u, "g_s_16.2"))
    coefficients = g.conv(g.slims(g.add("Mul", u, "gain"), "g_s_8", config["s8"]), "g_s_out")
    straight = g.shuffle(g.conv(g.channels("y", "linear", is_linear), "g_s_linear.0"))
    basis = tensors["float.basis"]  # rows: channels of detail; columns: row, column, coefficient
    blocks = g.add("Conv", "detail", g.constant("basis", basis.T[:, :, None, None]))
    missing = g.add("DepthToSpace", blocks, blocksize=2, mode="DCR")
    inverse = g.constant("idct", np.tile(_dct_basis().T[:, :, None, None], (3, 1, 1, 1)))
    half = g.constant("half", np.full(192, 0.5, np.float32))
    pixels = g.add("Conv", g.add("Sum", coefficients, straight, missing), inverse, half, group=3)
    inputs = {"y": config["m"], "gain": config["c8"], "detail": config["detail"]}
    return g.model(inputs, {"x_hat": (g.shuffle(pixels, 8), 3)})


def _dct_basis() -> np.ndarray:
    """The orthonormal 8x8 DCT-II: float32 (64 coefficients, 64 pixels), rows before columns in both."""
    i = np.arange(8)
    d = np.cos(math.pi * (i[None] + 0.5) * i[:, None] / 8) * math.sqrt(2 / 8)
    d[0] /= math.sqrt(2)
    return np.kron(d, d).astype(np.float32)
