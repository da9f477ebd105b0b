"""Networks in a form that ONNX Runtime's CPU kernels run faster. The values stay the same but for rounding.

Its convolutions keep channels in blocks of 8 or 16. PRelu is not among the operators that know blocks, so
the pictures are unpacked and packed again around each, and its own kernel is slow. docs/adr/0017 has figures.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import onnx
from onnx import helper, numpy_helper

from app.domain import Floats

# Channels of a block where a CPU has AVX-512. One with 8 takes multiples of it, too.
_BLOCK = 16
# As of this version of ONNX's operators; before, they are part of the node.
_SPLIT_TAKES_SIZES = 13


def for_cpu(file: Path | bytes) -> bytes:
    """An ONNX file, or what it holds, rewritten."""
    model = onnx.load(file) if isinstance(file, Path) else onnx.load_from_string(file)
    graph = model.graph
    weights = _Weights(graph)
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    nodes: dict[str, onnx.NodeProto] = {}
    (opset,) = (each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    for node in _joined(graph.node, weights, opset):
        steps = [node]
        if node.op_type == "Conv":
            steps = _without_pairs(node, weights)
        elif node.op_type == "PRelu" and (slopes := _slopes(node, weights)) is not None:
            source = nodes.get(node.input[0])
            each = None if source is None or uses[node.input[0]] > 1 else _EachChannel.of(source, weights)
            if each is None:
                each = _EachChannel.nothing(node.input[0], len(slopes))
            else:
                del nodes[node.input[0]]
            steps = _without_prelu(node.output[0], each, slopes, weights)
        nodes.update((next(filter(None, step.output)), step) for step in steps)
    del graph.node[:]
    graph.node.extend(nodes.values())
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
        return self._store(numpy_helper.from_array(values.astype(np.float32), name))

    def add_numbers(self, name: str, values: Sequence[int]) -> str:
        """Store whole numbers; returns their name."""
        return self._store(numpy_helper.from_array(np.array(values, np.int64), name))

    def _store(self, tensor: onnx.TensorProto) -> str:
        self._tensors[tensor.name] = tensor
        self._graph.initializer.append(tensor)
        return tensor.name

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


@dataclass(frozen=True, slots=True)
class _EachChannel:
    """A convolution of each channel for itself: a node like it, its kernel, shape (channels, 1, height,
    width), and what it adds to each channel.
    """

    like: onnx.NodeProto
    kernel: Floats
    bias: Floats | None

    @classmethod
    def of(cls, node: onnx.NodeProto, weights: _Weights) -> Self | None:
        """What a node is, or None if it is something else."""
        constants = _constants(node, weights)
        if constants is None or constants[0].shape[1] > 1 or _groups(node) != len(constants[0]):
            return None
        return cls(node, *constants)

    @classmethod
    def nothing(cls, taken: str, channels: int) -> Self:
        """One that changes nothing."""
        node = helper.make_node("Conv", [taken], [taken], group=channels, kernel_shape=[1, 1])
        return cls(node, np.ones((channels, 1, 1, 1), np.float32), None)

    def times(self, factors: Floats) -> Self:
        """With its results multiplied, a factor for each channel."""
        bias = None if self.bias is None else self.bias * factors
        return replace(self, kernel=self.kernel * factors.reshape(-1, 1, 1, 1), bias=bias)

    def node(self, name: str, weights: _Weights, taken: str | None = None) -> onnx.NodeProto:
        """A node of this name, and what it makes has the same; by default it takes what the other takes."""
        given = [taken or self.like.input[0], weights.add(f"{name}.weights", self.kernel)]
        if self.bias is not None:
            given.append(weights.add(f"{name}.bias", self.bias))
        made = helper.make_node("Conv", given, [name], name, group=len(self.kernel))
        made.attribute.extend(attribute for attribute in self.like.attribute if attribute.name != "group")
        return made


def _joined(nodes: Sequence[onnx.NodeProto], weights: _Weights, opset: int) -> list[onnx.NodeProto]:
    """Convolutions of the same picture in the same way as one, where that has fewer blocks: detectors' heads.

    Results that fill no block cost as much as those that do.
    """
    alike: dict[tuple[object, ...], list[onnx.NodeProto]] = {}
    for node in nodes:
        constants = _constants(node, weights)
        if constants is not None and _groups(node) == 1:
            way = tuple(sorted(attribute.SerializeToString() for attribute in node.attribute))
            alike.setdefault((node.input[0], way, constants[0].shape[1:]), []).append(node)
    made: dict[str, list[onnx.NodeProto]] = {}
    for some in alike.values():
        made |= _as_one(some, weights, opset)
    return [step for node in nodes for step in made.get(node.output[0], [node])]


def _as_one(
    nodes: Sequence[onnx.NodeProto], weights: _Weights, opset: int
) -> dict[str, list[onnx.NodeProto]]:
    """What takes the place of the nodes, by the name of their results; nothing where that costs as much."""
    kernels, biases = zip(*filter(None, (_constants(node, weights) for node in nodes)), strict=True)
    sizes = [len(kernel) for kernel in kernels]
    if math.ceil(sum(sizes) / _BLOCK) == sum(math.ceil(size / _BLOCK) for size in sizes):
        return {}
    results = [node.output[0] for node in nodes]
    name = f"{results[0]}.joined"
    bias = [np.zeros(size) if own is None else own for size, own in zip(sizes, biases, strict=True)]
    given = [
        nodes[0].input[0],
        weights.add(f"{name}.weights", np.concatenate(kernels)),
        weights.add(f"{name}.bias", np.concatenate(bias)),
    ]
    joined = helper.make_node("Conv", given, [name], name)
    joined.attribute.extend(nodes[0].attribute)
    if opset < _SPLIT_TAKES_SIZES:
        parted = helper.make_node("Split", [name], results, axis=1, split=sizes)
    else:
        parted = helper.make_node(
            "Split", [name, weights.add_numbers(f"{name}.sizes", sizes)], results, axis=1
        )
    return {result: [] for result in results[1:]} | {results[0]: [joined, parted]}


def _slopes(node: onnx.NodeProto, weights: _Weights) -> Floats | None:
    """A PRelu's slope for each channel; None if it is of another kind."""
    slopes = weights.get(node.input[1])
    return None if slopes is None or slopes.shape[1:] != (1, 1) or len(slopes) == 1 else slopes.reshape(-1)


def _without_prelu(
    result: str, each: _EachChannel, slopes: Floats, weights: _Weights
) -> list[onnx.NodeProto]:
    """PRelu(x) as slope * x + sign(1 - slope) * relu(|1 - slope| * x), where `each` makes x.

    It is run twice, with other weights. Where it changes nothing, that is a convolution of one pixel; any
    other costs little more, and x itself need not be made.
    """
    bend = 1 - slopes
    bent = each.times(np.abs(bend)).node(f"{result}.bent", weights)
    steps = [bent, helper.make_node("Relu", [bent.name], [f"{result}.relu"])]
    if (bend < 0).any():
        signs = _EachChannel.nothing(f"{result}.relu", len(bend)).times(np.where(bend < 0, -1, 1))
        steps.append(signs.node(f"{result}.signed", weights))
    line = each.times(slopes).node(f"{result}.line", weights)
    return [*steps, line, helper.make_node("Add", [line.name, steps[-1].output[0]], [result])]


def _without_pairs(node: onnx.NodeProto, weights: _Weights) -> list[onnx.NodeProto]:
    """A convolution of groups of two channels as two of each channel for itself: its own, and the other.

    Groups narrower than a block have no fast kernel. What swaps the two fills blocks, with zeros between.
    """
    constants = _constants(node, weights)
    if constants is None:
        return [node]
    kernel, bias = constants
    if kernel.shape[1] != 2 or len(kernel) % _BLOCK or 2 * _groups(node) != len(kernel):
        return [node]
    result, channel = node.output[0], np.arange(len(kernel))
    swap = np.zeros((len(kernel), _BLOCK, 1, 1), np.float32)
    swap[channel, (channel ^ 1) % _BLOCK] = 1
    swapped = helper.make_node(
        "Conv",
        [node.input[0], weights.add(f"{result}.swap.weights", swap)],
        [f"{result}.swapped"],
        group=len(kernel) // _BLOCK,
        kernel_shape=[1, 1],
    )
    own = _EachChannel(node, kernel[channel, channel % 2, None], bias).node(f"{result}.own", weights)
    other = _EachChannel(node, kernel[channel, 1 - channel % 2, None], None)
    others = other.node(f"{result}.other", weights, swapped.output[0])
    return [swapped, own, others, helper.make_node("Add", [own.name, others.name], [result])]


def _constants(node: onnx.NodeProto, weights: _Weights) -> tuple[Floats, Floats | None] | None:
    """Kernel and bias, if any, of a convolution of pictures; None for anything else, or if not constant."""
    if node.op_type != "Conv":
        return None
    kernel, *rest = (weights.get(name) for name in node.input[1:])
    if kernel is None or kernel.ndim != 4 or any(bias is None for bias in rest):
        return None
    return kernel, rest[0] if rest else None


def _groups(node: onnx.NodeProto) -> int:
    """Into how many groups a convolution parts its channels."""
    number: int = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return number
