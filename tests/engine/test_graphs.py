"""Rewritten networks compute what the published ones do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.engine import graphs, packs

Floats = NDArray[np.float32]
RNG = np.random.default_rng(11)


def outputs(model: bytes | Path, blob: Floats) -> list[Floats]:
    given = str(model) if isinstance(model, Path) else model
    session = onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"])
    found: list[Floats] = session.run(None, {session.get_inputs()[0].name: blob})
    return found


def network(
    path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Floats], channels: int, opset: int = 13
) -> Path:
    """A file with a network from `x` to `y`; it lists its constants among its inputs, as older ones do."""
    tensors = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 9, 7])]
    inputs += [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, list(t.dims)) for t in tensors]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "network", inputs, [result], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def assert_the_same(rewritten: bytes, path: Path, channels: int = 3) -> None:
    blob = RNG.normal(size=(1, channels, 9, 7)).astype(np.float32)
    np.testing.assert_allclose(outputs(rewritten, blob)[0], outputs(path, blob)[0], atol=1e-4)


def kinds(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


@pytest.mark.parametrize("slopes", [[0.25, 0.0, -0.5], [1.0, 0.9, 0.1], [0.3, 1.7, -2.0]])
def test_a_prelu_becomes_convolutions(tmp_path: Path, slopes: list[float]) -> None:
    steepness = np.array(slopes, np.float32).reshape(3, 1, 1)
    path = network(tmp_path / "n.onnx", [helper.make_node("PRelu", ["x", "s"], ["y"])], {"s": steepness}, 3)
    rewritten = graphs.for_onnxruntime(path)
    assert "PRelu" not in kinds(rewritten)
    blob = RNG.normal(size=(1, 3, 9, 7)).astype(np.float32)
    expected = np.where(blob > 0, blob, blob * steepness)
    np.testing.assert_allclose(outputs(rewritten, blob)[0], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1,), (9, 7)])
def test_a_prelu_of_another_kind_stays(tmp_path: Path, shape: tuple[int, ...]) -> None:
    slopes = RNG.uniform(0, 1, shape).astype(np.float32)
    path = network(tmp_path / "n.onnx", [helper.make_node("PRelu", ["x", "s"], ["y"])], {"s": slopes}, 3)
    assert_the_same(graphs.for_onnxruntime(path), path)


@pytest.mark.parametrize("slopes", [[0.25, 0.0, -0.5], [0.3, 1.7, -2.0]])
@pytest.mark.parametrize("biased", [True, False])
def test_a_prelu_takes_the_convolution_of_each_channel_before_it_with_it(
    tmp_path: Path, slopes: list[float], *, biased: bool
) -> None:
    constants = {
        "s": np.array(slopes, np.float32).reshape(3, 1, 1),
        "w": RNG.normal(size=(3, 1, 3, 3)).astype(np.float32),
    }
    if biased:
        constants["b"] = RNG.normal(size=3).astype(np.float32)
    taken = ["x", "w", "b"] if biased else ["x", "w"]
    nodes = [
        helper.make_node("Conv", taken, ["c"], group=3, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("PRelu", ["c", "s"], ["y"]),
    ]
    path = network(tmp_path / "n.onnx", nodes, constants, 3)
    rewritten = graphs.for_onnxruntime(path)
    assert [kind for kind in kinds(rewritten) if kind != "Conv"] == ["Relu", "Add"]
    assert kinds(rewritten).count("Conv") == (3 if max(slopes) > 1 else 2)
    assert_the_same(rewritten, path)


@pytest.mark.parametrize("slopes", [[0.25, 0.0, -0.5], [0.3, 1.7, -2.0], [0.3, 0.99, 0.1], [0.3, 1.0, 0.1]])
@pytest.mark.parametrize("biased", [True, False])
def test_a_prelu_is_made_of_the_convolution_before_it_unless_it_hardly_bends(
    tmp_path: Path, slopes: list[float], *, biased: bool
) -> None:
    constants = {
        "s": np.array(slopes, np.float32).reshape(3, 1, 1),
        "w": RNG.normal(size=(3, 3, 3, 3)).astype(np.float32),
    }
    if biased:
        constants["b"] = RNG.normal(size=3).astype(np.float32)
    taken = ["x", "w", "b"] if biased else ["x", "w"]
    nodes = [
        helper.make_node("Conv", taken, ["c"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("PRelu", ["c", "s"], ["y"]),
    ]
    path = network(tmp_path / "n.onnx", nodes, constants, 3)
    rewritten = graphs.for_onnxruntime(path)
    hardly = min(abs(1 - slope) for slope in slopes) < 0.05
    assert kinds(rewritten).count("Conv") == 2 + hardly + (max(slopes) > 1)
    assert_the_same(rewritten, path)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("after", ["PRelu", "Relu"])
def test_a_normalization_becomes_part_of_the_convolution_before_it(
    tmp_path: Path, after: str, groups: int, *, biased: bool
) -> None:
    constants = {
        "w": RNG.normal(size=(3, 3 // groups, 3, 3)).astype(np.float32),
        **{name: RNG.normal(size=3).astype(np.float32) for name in ("scale", "shift", "mean")},
        "variance": RNG.uniform(0.1, 2, 3).astype(np.float32),
        "s": np.array([0.25, 0.5, -0.5], np.float32).reshape(3, 1, 1),
    }
    if biased:
        constants["b"] = RNG.normal(size=3).astype(np.float32)
    taken = ["x", "w", "b"] if biased else ["x", "w"]
    nodes = [
        helper.make_node("Conv", taken, ["c"], kernel_shape=[3, 3], group=groups),
        helper.make_node(
            "BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"], epsilon=0.01
        ),
        helper.make_node(after, ["n", "s"] if after == "PRelu" else ["n"], ["y"]),
    ]
    path = network(tmp_path / "n.onnx", nodes, constants, 3)
    rewritten = graphs.for_onnxruntime(path)
    assert not {"PRelu", "BatchNormalization"} & set(kinds(rewritten))
    assert kinds(rewritten).count("Conv") == (2 if after == "PRelu" else 1)
    assert_the_same(rewritten, path)


def test_what_others_need_before_a_prelu_stays(tmp_path: Path) -> None:
    constants = {
        "s": np.full((3, 1, 1), 0.25, np.float32),
        "w": RNG.normal(size=(3, 1, 1, 1)).astype(np.float32),
    }
    constants["s"][0] = 0.5
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], group=3, kernel_shape=[1, 1]),
        helper.make_node("PRelu", ["c", "s"], ["p"]),
        helper.make_node("Add", ["c", "p"], ["y"]),
    ]
    path = network(tmp_path / "n.onnx", nodes, constants, 3)
    assert_the_same(graphs.for_onnxruntime(path), path)


@pytest.mark.parametrize(("channels", "narrow"), [(32, 2), (32, 8), (48, 4), (32, 1), (24, 2), (48, 2)])
@pytest.mark.parametrize("biased", [True, False])
def test_groups_of_two_are_parted(tmp_path: Path, channels: int, narrow: int, *, biased: bool) -> None:
    constants = {"w": RNG.normal(size=(channels, narrow, 3, 3)).astype(np.float32)}
    if biased:
        constants["b"] = RNG.normal(size=channels).astype(np.float32)
    node = helper.make_node(
        "Conv", ["x", *constants], ["y"], group=channels // narrow, kernel_shape=[3, 3], pads=[1, 1, 1, 1]
    )
    path = network(tmp_path / "n.onnx", [node], constants, channels)
    rewritten = graphs.for_onnxruntime(path)
    assert ("Add" in kinds(rewritten)) == (narrow == 2 and channels % 16 == 0)
    assert_the_same(rewritten, path, channels)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(
    ("sizes", "joined"), [((2, 8, 20), True), ((16, 32, 16), False), ((20, 20), True), ((17, 16), False)]
)
def test_convolutions_of_the_same_picture_are_joined_where_it_saves_blocks(
    tmp_path: Path, sizes: tuple[int, ...], opset: int, *, joined: bool
) -> None:
    constants, nodes = {}, []
    for number, size in enumerate(sizes):
        constants[f"w{number}"] = RNG.normal(size=(size, 16, 3, 3)).astype(np.float32)
        taken = ["x", f"w{number}"]
        if number != 1:
            constants[f"b{number}"] = RNG.normal(size=size).astype(np.float32)
            taken.append(f"b{number}")
        nodes.append(helper.make_node("Conv", taken, [f"c{number}"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Concat", [f"c{number}" for number in range(len(sizes))], ["y"], axis=1))
    path = network(tmp_path / "n.onnx", nodes, constants, 16, opset)
    rewritten = graphs.for_onnxruntime(path)
    assert kinds(rewritten).count("Conv") == (1 if joined else len(sizes))
    assert_the_same(rewritten, path, 16)


@pytest.mark.parametrize("other", [{"strides": [2, 2]}, {"group": 2}, {"pads": [1, 1, 1, 1]}])
def test_convolutions_that_differ_are_not_joined(tmp_path: Path, other: dict[str, Any]) -> None:
    constants = {name: RNG.normal(size=(4, 16, 1, 1)).astype(np.float32) for name in ("w", "v")}
    if "group" in other:
        constants["v"] = constants["v"][:, :8]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Conv", ["x", "v"], ["d"], **other),
        helper.make_node("GlobalMaxPool", ["c"], ["p"]),
        helper.make_node("GlobalMaxPool", ["d"], ["q"]),
        helper.make_node("Add", ["p", "q"], ["y"]),
    ]
    path = network(tmp_path / "n.onnx", nodes, constants, 16)
    rewritten = graphs.for_onnxruntime(path)
    assert kinds(rewritten).count("Conv") == 2
    assert_the_same(rewritten, path, 16)


@pytest.mark.parametrize("rewrite", [graphs.for_onnxruntime, graphs.for_openvino])
def test_the_shipped_networks_say_the_same(rewrite: Callable[[Path], bytes]) -> None:
    pack, folder = packs.require("mobile", Path("unused"))
    for file, side in ((pack.recogniser, 112), (pack.detector, 192), (packs.POINTS_106, 192)):
        blob = RNG.normal(size=(1, 3, side, side)).astype(np.float32)
        rewritten = rewrite(folder / file.name)
        before = kinds((folder / file.name).read_bytes()).count("PRelu")
        assert kinds(rewritten).count("PRelu") == (before if rewrite is graphs.for_openvino else 0)
        assert ("Split" in kinds(rewritten)) == (file is pack.detector)
        for new, old in zip(outputs(rewritten, blob), outputs(folder / file.name, blob), strict=True):
            np.testing.assert_allclose(new, old, atol=1e-4 * max(1, float(np.abs(old).max())))
