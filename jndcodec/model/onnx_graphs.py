"""The networks of a weights file as ONNX graphs, layer by layer as `vbr.JlcVbr` has them in torch.

Inputs and outputs are channels last, (1, h, w, C) with free h and w, but for what only passes from one graph to the
next (features, DCT coefficients), which is NCHW. Gains are inputs, as they depend on the rate.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np

from jndcodec.model.onnx_file import Graph

LEAK = 0.1  # of the slim blocks
REACH = 0.1  # of their branches
CLIP = 8.0  # of y in units of its usual size
DCT = 8  # pixels on a side of a block


@functools.cache
def dct_kernel() -> np.ndarray:
    """The orthonormal 8x8 DCT-II of each of three channels as a grouped convolution's kernel, (192, 1, 8, 8)."""
    i = np.arange(DCT)
    d = np.cos(np.pi * (i[None] + 0.5) * i[:, None] / DCT) * np.sqrt(2 / DCT)
    d[0] /= np.sqrt(2)
    return np.tile(np.einsum("ab,cd->acbd", d, d).reshape(-1, 1, DCT, DCT), (3, 1, 1, 1))


class Networks:
    """`build(name)` makes the graph of that name from float tensors by their names in the weights file."""

    def __init__(self, tensors: Mapping[str, np.ndarray], config: Mapping[str, int]) -> None:
        self.tensors, self.config = tensors, config
        self.makers: dict[str, Callable[[Graph], None]] = {
            "analyse": self._analyse,
            "hyper_analyse": self._hyper_analyse,
            "features": self._features,
            "mean_0": self._first_mean,
            **{f"mean_{step + 1}": functools.partial(self._context, step=step) for step in range(3)},
            "predict": self._predict,
            "detail": self._detail,
            "finish": self._finish,
        }

    def build(self, name: str) -> Graph:
        graph = Graph()
        self.makers[name](graph)
        return graph

    # -- layers

    def _conv(self, g: Graph, x: str, name: str, stride: int = 1, scale: float = 1.0) -> str:
        """Convolution that keeps the size (divided by `stride`), times `scale`."""
        kernel = self.tensors[f"{name}.weight"].astype(np.float32) * np.float32(scale)
        bias = self.tensors[f"{name}.bias"].astype(np.float32) * np.float32(scale)
        pads = [kernel.shape[2] // 2] * 4
        return g.node("Conv", x, g.constant(kernel), g.constant(bias), strides=[stride] * 2, pads=pads)

    def _relu(self, g: Graph, x: str, name: str, stride: int = 1) -> str:
        return g.node("Relu", self._conv(g, x, name, stride))

    def _slims(self, g: Graph, x: str, name: str, count: int) -> str:
        for i in range(count):
            h = g.node("LeakyRelu", self._conv(g, x, f"{name}.{i}.enter"), alpha=LEAK)
            h = g.node("LeakyRelu", self._conv(g, h, f"{name}.{i}.mix"), alpha=LEAK)
            x = g.node("Add", x, self._conv(g, h, f"{name}.{i}.leave", scale=REACH))
        return x

    def _dct(self, g: Graph) -> str:
        """Coefficients (1, 192, 2h, 2w) of the input `rgb`."""
        rgb = g.input("rgb", "uint8", (1, "H", "W", 3))
        x = g.node("Cast", g.node("Transpose", rgb, perm=(0, 3, 1, 2)), to=1)
        kernel, centre = dct_kernel(), -0.5 * dct_kernel().sum((1, 2, 3))
        constants = (g.constant(part.astype(np.float32)) for part in (kernel / 255, centre))
        return g.node("Conv", x, *constants, strides=(DCT, DCT), group=3)

    def _gain(self, g: Graph, name: str, channels: int, last: bool = True) -> str:
        """An input that multiplies or divides channels, which come last or second."""
        return g.input(name, "float32", (1, 1, 1, channels) if last else (1, channels, 1, 1))

    def _in(self, g: Graph, name: str, channels: int | str) -> str:
        return g.input(name, "float32", (1, f"{name}_h", f"{name}_w", channels))

    def _out(self, g: Graph, name: str, value: str, channels: int | str, gain: str | None = None) -> None:
        value = _last(g, value)
        g.output(name, g.node("Mul", value, gain) if gain else value, "float32", (1, "h_out", "w_out", channels))

    def _places(self) -> np.ndarray:
        """Where in y the channels of the main part stand, in their order, then the linear ones: at the end of each
        quarter."""
        places = np.arange(self.config["m"]).reshape(4, -1)
        kept = places.shape[1] - self.config["linear"] // 4
        return np.concatenate([places[:, :kept].ravel(), places[:, kept:].ravel()])

    # -- the graphs

    def _analyse(self, g: Graph) -> None:
        config, c = self.config, self._dct(g)
        u = g.node("Mul", self._conv(g, c, "g_a_in"), self._gain(g, "gain_a", config["c8"], last=False))
        u = self._conv(g, self._slims(g, u, "g_a_8", config["s8"]), "g_a_16.0", stride=2)
        u = self._conv(g, self._slims(g, u, "g_a_16.1", config["s16"]), "g_a_16.2")
        both = g.node("Concat", u, self._conv(g, c, "g_a_linear", stride=2), axis=1)
        y = g.node("Gather", _last(g, both), g.constant(np.argsort(self._places())), axis=3)
        gain = self._gain(g, "gain_y", config["m"])
        g.output("y", g.node("Mul", y, gain), "float32", (1, "h", "w", config["m"]))
        size = g.node("Conv", c, g.constant(block_kernel(self.tensors["basis"])), strides=(2, 2))
        size = g.node("Abs", g.node("Mul", size, self._gain(g, "units", config["detail"], last=False)))
        size = g.node("Log", g.node("Add", size, _number(g, 1.0)))
        self._out(g, "energies", self._conv(g, size, "h_a_detail"), config["ce"])

    def _hyper_analyse(self, g: Graph) -> None:
        config = self.config
        v = g.node("Div", self._in(g, "y", config["m"]), self._gain(g, "sigma", config["m"]))
        size = g.node("Sub", g.node("Log", g.node("Add", g.node("Abs", v), _number(g, 1.0))), _number(g, 0.5))
        x = g.node("Concat", _clip(g, v), size, self._in(g, "energies", config["ce"]), axis=3)
        x = self._relu(g, self._relu(g, _first(g, x), "h_a.0"), "h_a.2", stride=2)
        self._out(g, "z", self._conv(g, self._relu(g, x, "h_a.4"), "h_a.6", stride=2), config["cz"])

    def _features(self, g: Graph) -> None:
        x = _shuffle(g, self._conv(g, _first(g, self._in(g, "z", self.config["cz"])), "h_s.0"))
        x = self._relu(g, g.node("Relu", x), "h_s.3")
        x = g.node("Relu", _shuffle(g, self._conv(g, x, "h_s.5")))
        g.output("features", self._relu(g, x, "h_s.8"), "float32", (1, 2 * self.config["d"], "h_out", "w_out"))

    def _first_mean(self, g: Graph) -> None:
        features = g.input("features", "float32", (1, 2 * self.config["d"], "h", "w"))
        m = self.config["m"]
        self._out(g, "mean", self._conv(g, features, "mean_0"), m, self._gain(g, "sigma", m))

    def _context(self, g: Graph, step: int) -> None:
        m, d, name = self.config["m"], self.config["d"], f"context.{step}"
        sigma = self._gain(g, "sigma", m)
        units = _clip(g, g.node("Div", self._in(g, "y_hat", m), sigma))
        features = g.input("features", "float32", (1, 2 * d, "h", "w"))
        p = self._relu(g, g.node("Concat", _first(g, units), features, axis=1), f"{name}.enter")
        p = g.node("Add", self._relu(g, p, f"{name}.mix"), p)
        self._out(g, "mean", self._conv(g, p, f"{name}.leave"), m, sigma)

    def _predict(self, g: Graph) -> None:
        config = self.config
        y = g.node("Mul", self._in(g, "y_hat", config["m"]), self._gain(g, "gain_y", config["m"]))
        places = self._places()
        kept = config["m"] - config["linear"]
        main, linear = (
            _first(g, g.node("Gather", y, g.constant(part), axis=3)) for part in (places[:kept], places[kept:])
        )
        u = self._slims(g, self._conv(g, main, "g_s_16.0"), "g_s_16.1", config["s16"])
        u = g.node("Mul", _shuffle(g, self._conv(g, u, "g_s_16.2")), self._gain(g, "gain_s", config["c8"], last=False))
        u = self._conv(g, self._slims(g, u, "g_s_8", config["s8"]), "g_s_out")
        u = g.node("Add", u, _shuffle(g, self._conv(g, linear, "g_s_linear.0")))
        g.output("predicted", u, "float32", (1, 3 * DCT**2, "h_out", "w_out"))

    def _detail(self, g: Graph) -> None:
        missing = g.node("Sub", self._dct(g), g.input("predicted", "float32", (1, 3 * DCT**2, "h", "w")))
        found = g.node("Conv", missing, _block_input(g), strides=(2, 2))
        gain = g.input("gain", "float32", (1, 1, 1, "count"))
        self._out(g, "detail", found, "count", gain)

    def _finish(self, g: Graph) -> None:
        detail = g.node("Mul", self._in(g, "detail", "count"), g.input("gain", "float32", (1, 1, 1, "count")))
        added = g.node("ConvTranspose", _first(g, detail), _block_input(g), strides=(2, 2))
        c = g.node("Add", g.input("predicted", "float32", (1, 3 * DCT**2, "h", "w")), added)
        constants = g.constant((dct_kernel() * 255).astype(np.float32)), g.constant(np.full(3, 127.5, np.float32))
        x = g.node("ConvTranspose", c, *constants, strides=(DCT, DCT), group=3)
        x = g.node("Cast", g.node("Round", g.node("Clip", x, _number(g, 0.0), _number(g, 255.0))), to=2)
        g.output("rgb", _last(g, x), "uint8", (1, "H", "W", 3))


def block_kernel(basis: np.ndarray) -> np.ndarray:
    """Rows over blocks by row, column, channel, (count, 768), as the kernel of a 2x2 convolution: float32 (count, 192,
    2, 2)."""
    return np.ascontiguousarray(basis.reshape(len(basis), 2, 2, -1).transpose(0, 3, 1, 2), np.float32)


def _block_input(g: Graph) -> str:
    """`block_kernel` of the rows in use, which depend on the rate."""
    return g.input("basis", "float32", ("count", 3 * DCT**2, 2, 2))


def _number(g: Graph, value: float) -> str:
    return g.constant(np.array(value, np.float32))


def _clip(g: Graph, x: str) -> str:
    return g.node("Clip", x, _number(g, -CLIP), _number(g, CLIP))


def _shuffle(g: Graph, x: str) -> str:
    return g.node("DepthToSpace", x, blocksize=2, mode="CRD")


def _first(g: Graph, x: str) -> str:
    """Channels last to second."""
    return g.node("Transpose", x, perm=(0, 3, 1, 2))


def _last(g: Graph, x: str) -> str:
    return g.node("Transpose", x, perm=(0, 2, 3, 1))
