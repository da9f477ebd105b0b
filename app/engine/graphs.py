"""Networks in a form that ONNX Runtime's CPU kernels run faster. The values stay the same but for rounding.

Its convolutions keep channels in blocks of 8 or 16. PRelu is not among the operators that know blocks, so
the pictures are unpacked and packed again around each, and its own kernel is slow. docs/adr/0017 has figures.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from app.domain import Floats

# Channels of a block where a CPU has AVX-512. One with 8 takes multiples of it, too.
_BLOCK = 16


def for_cpu(file: Path | bytes) -> bytes:
    """An ONNX file, or what it holds, rewritten."""
    model = onnx.load(file) if isinstance(file, Path) else onnx.load_from_string(file)
    graph = model.graph
    weights = _Weights(graph)
    nodes = []
    for node in graph.node:
        if node.op_type == "PRelu":
            nodes += _without_prelu(node, weights)
        else:
            if node.op_type == "Conv":
                _widen_groups(node, weights)
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    weights.tidy()
    serialized: bytes = model.SerializeToString()
    return serialized


class _Weights:
    """The constant tensors of a graph, by name."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}

    def get(self, name: str) -> Floats | None:
        """A tensor, or None for what is no constant."""
        tensor = self._tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def add(self, name: str, values: Floats) -> str:
        """Store a tensor; returns its name."""
        tensor = numpy_helper.from_array(values.astype(np.float32), name)
        self._tensors[name] = tensor
        self._graph.initializer.append(tensor)
        return name

    def tidy(self) -> None:
        """Forget what no node takes any more, and take constants off the list of inputs.

        Older files have them there, and what may be given anew at each run is not folded into anything.
        """
        used = {name for node in self._graph.node for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        given = [value for value in self._graph.input if value.name not in self._tensors]
        for listed, left in ((self._graph.initializer, kept), (self._graph.input, given)):
            del listed[:]
            listed.extend(left)


def _without_prelu(node: onnx.NodeProto, weights: _Weights) -> list[onnx.NodeProto]:
    """PRelu(x) as slope * x + sign(1 - slope) * relu(|1 - slope| * x), by convolutions of one pixel."""
    slopes = weights.get(node.input[1])
    if slopes is None or slopes.shape[1:] != (1, 1) or len(slopes) == 1:
        return [node]  # no slope for each channel
    x, result = node.input[0], node.output[0]
    channels = len(slopes)
    steps: list[onnx.NodeProto] = []

    def scaled(taken: str, name: str, factors: Floats) -> str:
        kernel = weights.add(f"{result}.{name}.weights", factors.reshape(channels, 1, 1, 1))
        steps.append(
            helper.make_node(
                "Conv", [taken, kernel], [f"{result}.{name}"], group=channels, kernel_shape=[1, 1]
            )
        )
        return f"{result}.{name}"

    bend = 1 - slopes
    steps.append(helper.make_node("Relu", [scaled(x, "bent", np.abs(bend))], [f"{result}.relu"]))
    positive = f"{result}.relu"
    if (bend < 0).any():
        positive = scaled(positive, "signed", np.where(bend < 0, -1, 1))
    steps.append(helper.make_node("Add", [scaled(x, "line", slopes), positive], [result]))
    return steps


def _widen_groups(node: onnx.NodeProto, weights: _Weights) -> None:
    """Let a convolution of narrow groups run as one whose groups fill a block, with zeros between."""
    kernel = weights.get(node.input[1])
    group = next((attribute for attribute in node.attribute if attribute.name == "group"), None)
    if kernel is None or group is None or kernel.ndim != 4:
        return
    channels, narrow = kernel.shape[:2]
    if channels != group.i * narrow or channels % _BLOCK or not 1 < narrow < _BLOCK or _BLOCK % narrow:
        return
    wide = np.zeros((channels, _BLOCK, *kernel.shape[2:]), np.float32)
    for channel in range(channels):
        first = channel // narrow * narrow % _BLOCK
        wide[channel, first : first + narrow] = kernel[channel]
    node.input[1] = weights.add(f"{node.output[0]}.wide.weights", wide)
    group.i = channels // _BLOCK
