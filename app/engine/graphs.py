"""Networks in a form that a CPU's runtimes run faster. The values stay the same but for rounding.

Both keep channels in blocks of 8 or 16. PRelu is not among the operators of ONNX Runtime that know blocks, so
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
# A PRelu that bends less leaves too little of what is computed by way of the bend.
_LEAST_BEND = 0.05


def for_onnxruntime(file: Path | bytes) -> bytes:
    """An ONNX file, or what it holds, rewritten."""
    return _rewritten(file, with_prelus=False)


def for_openvino(file: Path | bytes) -> bytes:
    """The same with its PRelus, which OpenVINO computes with the convolution before, rounded once in bf16."""
    return _rewritten(file, with_prelus=True)


def _rewritten(file: Path | bytes, *, with_prelus: bool) -> bytes:
    model = onnx.load(file) if isinstance(file, Path) else onnx.load_from_string(file)
    graph = model.graph
    weights = _Weights(graph)
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    (opset,) = (each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    nodes: dict[str, onnx.NodeProto] = {}
    for node in _joined(graph.node, weights, opset):
        steps = [node]
        taken = next(iter(node.input), "")
        before = nodes.get(taken) if uses[taken] == 1 else None
        made = None if before is None else _Convolution.of(before, weights)
        if node.op_type == "Conv":
            steps = _without_pairs(node, weights)
        elif node.op_type == "BatchNormalization" and made is not None:
            normalized = _normalized(node, made, weights)
            if normalized is not None:
                del nodes[taken]
                steps = [normalized.node(node.output[0], weights)]
        elif node.op_type == "PRelu" and not with_prelus and (slopes := _slopes(node, weights)) is not None:
            if made is not None and _may_be_scaled(made, slopes):
                del nodes[taken]
            else:
                made = _Convolution.nothing(taken, len(slopes))
            steps = _without_prelu(node.output[0], made, slopes, weights)
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
class _Convolution:
    """A convolution of pictures: a node like it, its kernel, shape (channels, channels of a group, height,
    width), what it adds to each channel, and into how many groups it parts those it takes.
    """

    like: onnx.NodeProto
    kernel: Floats
    bias: Floats | None
    groups: int

    @classmethod
    def of(cls, node: onnx.NodeProto, weights: _Weights) -> Self | None:
        """What a node is; None if it is something else, or not constant."""
        if node.op_type != "Conv":
            return None
        kernel, *rest = (weights.get(name) for name in node.input[1:])
        if kernel is None or kernel.ndim != 4 or any(bias is None for bias in rest):
            return None
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        return cls(node, kernel, rest[0] if rest else None, groups)

    @classmethod
    def nothing(cls, taken: str, channels: int) -> Self:
        """One that changes nothing."""
        node = helper.make_node("Conv", [taken], [taken], kernel_shape=[1, 1])
        return cls(node, np.ones((channels, 1, 1, 1), np.float32), None, channels)

    @property
    def is_of_each_channel(self) -> bool:
        """Whether it takes each channel for itself, which costs little."""
        return self.kernel.shape[1] == 1 and self.groups == len(self.kernel)

    def times(self, factors: Floats) -> Self:
        """With its results multiplied, a factor for each channel."""
        bias = None if self.bias is None else self.bias * factors
        return replace(self, kernel=self.kernel * factors.reshape(-1, 1, 1, 1), bias=bias)

    def node(self, name: str, weights: _Weights, taken: str | None = None) -> onnx.NodeProto:
        """A node of this name, and what it makes has the same; by default it takes what the other takes."""
        given = [taken or self.like.input[0], weights.add(f"{name}.weights", self.kernel)]
        if self.bias is not None:
            given.append(weights.add(f"{name}.bias", self.bias))
        made = helper.make_node("Conv", given, [name], name, group=self.groups)
        made.attribute.extend(attribute for attribute in self.like.attribute if attribute.name != "group")
        return made


def _joined(nodes: Sequence[onnx.NodeProto], weights: _Weights, opset: int) -> list[onnx.NodeProto]:
    """Convolutions of the same picture in the same way as one, where that has fewer blocks: detectors' heads.

    Results that fill no block cost as much as those that do.
    """
    alike: dict[tuple[object, ...], list[_Convolution]] = {}
    for node in nodes:
        made = _Convolution.of(node, weights)
        if made is not None and made.groups == 1:
            way = tuple(sorted(attribute.SerializeToString() for attribute in node.attribute))
            alike.setdefault((node.input[0], way, made.kernel.shape[1:]), []).append(made)
    instead: dict[str, list[onnx.NodeProto]] = {}
    for some in alike.values():
        instead |= _as_one(some, weights, opset)
    return [step for node in nodes for step in instead.get(node.output[0], [node])]


def _as_one(some: Sequence[_Convolution], weights: _Weights, opset: int) -> dict[str, list[onnx.NodeProto]]:
    """What takes the place of nodes, by the names of their results; nothing where that costs as much."""
    sizes = [len(each.kernel) for each in some]
    if math.ceil(sum(sizes) / _BLOCK) == sum(math.ceil(size / _BLOCK) for size in sizes):
        return {}
    kernel = np.concatenate([each.kernel for each in some])
    bias = np.concatenate([np.zeros(len(each.kernel)) if each.bias is None else each.bias for each in some])
    results = [each.like.output[0] for each in some]
    name = f"{results[0]}.joined"
    joined = replace(some[0], kernel=kernel, bias=bias).node(name, weights)
    if opset < _SPLIT_TAKES_SIZES:
        parted = helper.make_node("Split", [name], results, axis=1, split=sizes)
    else:
        given = [name, weights.add_numbers(f"{name}.sizes", sizes)]
        parted = helper.make_node("Split", given, results, axis=1)
    return {result: [] for result in results} | {results[0]: [joined, parted]}


def _normalized(node: onnx.NodeProto, made: _Convolution, weights: _Weights) -> _Convolution | None:
    """A convolution with the normalization after it; None for one that isn't constant."""
    constants = [weights.get(name) for name in node.input[1:5]]
    if any(constant is None for constant in constants) or sum(map(bool, node.output)) > 1:
        return None
    scale, shift, mean, variance = (constant for constant in constants if constant is not None)
    epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
    factors = np.asarray(scale / np.sqrt(variance + epsilon), np.float32)
    scaled = made.times(factors)
    added = np.asarray(shift - mean * factors, np.float32)
    return replace(scaled, bias=added if scaled.bias is None else scaled.bias + added)


def _slopes(node: onnx.NodeProto, weights: _Weights) -> Floats | None:
    """A PRelu's slope for each channel; None if it is of another kind."""
    slopes = weights.get(node.input[1])
    return None if slopes is None or slopes.shape[1:] != (1, 1) or len(slopes) == 1 else slopes.reshape(-1)


def _may_be_scaled(made: _Convolution, slopes: Floats) -> bool:
    """Whether a PRelu can be made of a convolution with other weights."""
    return made.is_of_each_channel or bool(np.abs(1 - slopes).min() >= _LEAST_BEND)


def _without_prelu(
    result: str, made: _Convolution, slopes: Floats, weights: _Weights
) -> list[onnx.NodeProto]:
    """PRelu(x) as slope * x + sign(1 - slope) * relu(|1 - slope| * x), where a convolution makes x.

    One of each channel is run twice, with other weights: where it changes nothing, that is a convolution of
    one pixel; any other costs little more, and x itself need not be made. Others make |1 - slope| * x, of
    which the rest is made.
    """
    bend = 1 - slopes
    steps = [made.times(np.abs(bend)).node(f"{result}.bent", weights)]
    bent = steps[0].name
    steps.append(helper.make_node("Relu", [bent], [f"{result}.relu"]))
    if (bend < 0).any():
        signs = _Convolution.nothing(f"{result}.relu", len(bend)).times(np.asarray(np.sign(bend), np.float32))
        steps.append(signs.node(f"{result}.signed", weights))
    if made.is_of_each_channel:
        line = made.times(slopes)
    else:
        line = _Convolution.nothing(bent, len(bend)).times(np.asarray(slopes / np.abs(bend), np.float32))
    added = line.node(f"{result}.line", weights)
    return [*steps, added, helper.make_node("Add", [added.name, steps[-1].output[0]], [result])]


def _without_pairs(node: onnx.NodeProto, weights: _Weights) -> list[onnx.NodeProto]:
    """A convolution of groups of two channels as two of each channel for itself: its own, and the other.

    Groups narrower than a block have no fast kernel. What swaps the two fills blocks, with zeros between.
    """
    made = _Convolution.of(node, weights)
    if made is None:
        return [node]
    kernel = made.kernel
    if kernel.shape[1] != 2 or len(kernel) % _BLOCK or 2 * made.groups != len(kernel):
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
    each = replace(made, groups=len(kernel))
    own = replace(each, kernel=kernel[channel, channel % 2, None]).node(f"{result}.own", weights)
    other = replace(each, kernel=kernel[channel, 1 - channel % 2, None], bias=None)
    others = other.node(f"{result}.other", weights, swapped.output[0])
    return [swapped, own, others, helper.make_node("Add", [own.name, others.name], [result])]
