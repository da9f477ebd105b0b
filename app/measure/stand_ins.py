"""Networks of the size of buffalo_l's with random weights: they tell its speed where its files are not.

What they say about a face means nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# Deng et al., ArcFace (CVPR 2019), as insightface trains it: blocks and channels of each stage.
_IRESNET50 = ((3, 64), (4, 128), (14, 256), (3, 512))
# Guo et al., SCRFD (ICLR 2022), the 10 GFLOPs net: blocks and channels of each stage, of the pyramid, and of
# the heads' convolutions, of which there are three.
_SCRFD_10G = ((3, 56), (4, 88), (2, 88), (3, 224))
_PYRAMID, _HEAD, _HEAD_DEPTH = 56, 80, 3
_STEM = (28, 28, 56)
_ANCHORS = 2


class _Net:
    """Grows a graph; every method takes and returns the names of tensors."""

    def __init__(self, shape: Sequence[int | str]) -> None:
        self._given = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(1)

    def _constant(self, values: NDArray[np.floating]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(self, x: str, into: int, of: int, side: int = 3, stride: int = 1) -> str:
        weights = self._random.normal(size=(of, into, side, side)) / np.sqrt(into * side * side)
        return self.op(
            "Conv", x, self._constant(weights), self._constant(np.zeros(of)),
            kernel_shape=[side, side], strides=[stride, stride], pads=[side // 2] * 4,
        )  # fmt: skip

    def norm(self, x: str, channels: int) -> str:
        one, zero = np.ones(channels), np.zeros(channels)
        return self.op("BatchNormalization", x, *(self._constant(v) for v in (one, zero, zero, one)))

    def prelu(self, x: str, channels: int) -> str:
        return self.op("PRelu", x, self._constant(np.full((channels, 1, 1), 0.25)))

    def linear(self, x: str, into: int, of: int) -> str:
        weights = self._random.normal(size=(into, of)) / np.sqrt(into)
        return self.op("Gemm", x, self._constant(weights), self._constant(np.zeros(of)))

    def save(self, path: Path, outputs: Sequence[str]) -> Path:
        shown = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self._nodes, "stand-in", [self._given], shown, self._weights)
        opset = helper.make_opsetid("", 13)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
        return path


def iresnet50(path: Path) -> Path:
    """A recogniser of w600k_r50's shape: input (1, 3, 112, 112), output (1, 512), 6.3 G multiplications."""
    net = _Net([1, 3, 112, 112])
    x, into = net.prelu(net.conv("input", 3, 64), 64), 64
    for blocks, of in _IRESNET50:
        for block in range(blocks):
            stride = 2 if block == 0 else 1
            inner = net.prelu(net.conv(net.norm(x, into), into, of), of)
            inner = net.conv(inner, of, of, stride=stride)
            x = net.op("Add", inner, net.conv(x, into, of, 1, stride) if block == 0 else x)
            into = of
    flat = net.op("Flatten", net.norm(x, into))
    return net.save(path, [net.linear(flat, into * 7 * 7, 512)])


def scrfd_10g(path: Path) -> Path:
    """A detector of SCRFD-10G's size: sides in multiples of 32, 9.9 G multiplications at 640 x 480."""
    net = _Net([1, 3, "height", "width"])
    x, into = "input", 3
    for number, of in enumerate(_STEM):
        x, into = net.op("Relu", net.conv(x, into, of, stride=2 if number == 0 else 1)), of
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    levels = []
    for stage, (blocks, of) in enumerate(_SCRFD_10G):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            inner = net.conv(net.op("Relu", net.conv(x, into, of, stride=stride)), of, of)
            straight = x if stride == 1 and into == of else net.conv(x, into, of, 1, stride)
            x, into = net.op("Relu", net.op("Add", inner, straight)), of
        levels.append((x, of))
    outputs = []
    for level, of in levels[1:]:
        x = net.conv(net.conv(level, of, _PYRAMID, 1), _PYRAMID, _PYRAMID)
        into = _PYRAMID
        for _ in range(_HEAD_DEPTH):
            x, into = net.op("Relu", net.conv(x, into, _HEAD)), _HEAD
        outputs += [net.conv(x, _HEAD, _ANCHORS * values) for values in (1, 4, 10)]
    return net.save(path, outputs)
