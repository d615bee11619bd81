"""ONNX graphs as bytes, from a list of nodes.

The dozen fields of the format that our graphs need take fewer lines than the package `onnx` takes megabytes, and
graphs are made whenever a model is opened: nothing is kept beside the weights. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

IR_VERSION, OPSET = 8, 17
TYPES = {"float32": 1, "uint8": 2, "int64": 7}  # TensorProto.DataType
_VARINT, _BYTES, _FIXED32 = 0, 2, 5  # protobuf's wire types
Shape = Sequence[int | str]  # a name for each free length


@dataclass
class Graph:
    """Nodes in order, constants, inputs and outputs. Values are named by the node that makes them."""

    nodes: list[bytes] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, tuple[str, Shape]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, Shape]] = field(default_factory=dict)

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        self.inputs[name] = dtype, shape
        return name

    def output(self, name: str, value: str, dtype: str, shape: Shape) -> None:
        """`value` under the name by which callers ask for it."""
        self.nodes.append(_node("Identity", [value], name, {}))
        self.outputs[name] = dtype, shape

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def node(self, op: str, *values: str, **attributes: Any) -> str:
        """Add an operator of ONNX; returns the name of its one output."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(_node(op, values, name, attributes))
        return name

    def serialize(self) -> bytes:
        """A ModelProto. Constants stand in it as a shape and a type alone (`external`): whoever runs it has them."""
        graph = b"".join(_field(1, node) for node in self.nodes) + _field(2, b"jndcodec")
        graph += b"".join(_field(5, _external(name, array)) for name, array in self.constants.items())
        graph += b"".join(_field(11, _value(name, *kind)) for name, kind in self.inputs.items())
        graph += b"".join(_field(12, _value(name, *kind)) for name, kind in self.outputs.items())
        return _field(1, IR_VERSION) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, OPSET))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers as two's complement
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | float | str | bytes) -> bytes:
    """One field of a message: an integer, a float, or bytes (strings and messages are bytes)."""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | _FIXED32) + np.float32(value).tobytes()
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _node(op: str, inputs: Sequence[str], output: str, attributes: dict[str, Any]) -> bytes:
    """A NodeProto."""
    message = b"".join(_field(1, name) for name in inputs) + _field(2, output) + _field(3, output) + _field(4, op)
    return message + b"".join(_field(5, _attribute(name, value)) for name, value in attributes.items())


def _attribute(name: str, value: Any) -> bytes:
    """An AttributeProto; its type is the number in field 20."""
    if isinstance(value, int):
        content, kind = _field(3, value), 2
    elif isinstance(value, float):
        content, kind = _field(2, value), 1
    elif isinstance(value, str):
        content, kind = _field(4, value), 3
    else:
        content, kind = b"".join(_field(8, int(item)) for item in value), 7
    return _field(1, name) + content + _field(20, kind)


def _external(name: str, array: np.ndarray) -> bytes:
    """A TensorProto without its data."""
    dims = b"".join(_field(1, length) for length in array.shape)
    place = _field(13, _field(1, "location") + _field(2, "weights"))
    return dims + _field(2, TYPES[array.dtype.name]) + _field(8, name) + place + _field(14, 1)


def _value(name: str, dtype: str, shape: Shape) -> bytes:
    """A ValueInfoProto."""
    dims = b"".join(_field(1, _field(1 if isinstance(length, int) else 2, length)) for length in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, TYPES[dtype]) + _field(2, dims)))
