"""Stand-ins have the sizes of what they stand for."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from app.engine.onnx_session import open_session
from app.measure import stand_ins


def outputs(path: Path, side: int) -> list[NDArray[np.float32]]:
    found: list[NDArray[np.float32]] = open_session(path).run(
        None, {"input": np.random.default_rng(2).random((1, 3, side, side), np.float32)}
    )
    return found


def weights(path: Path) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in onnx.load(path).graph.initializer)


def test_iresnet50(tmp_path: Path) -> None:
    path = stand_ins.iresnet50(tmp_path / "r50.onnx")
    assert 43.5e6 < weights(path) < 43.7e6  # 43.59 million, as insightface's
    (vector,) = outputs(path, 112)
    assert vector.shape == (1, 512)
    assert np.isfinite(vector).all()
    assert vector.std() > 0


def test_scrfd_10g(tmp_path: Path) -> None:
    path = stand_ins.scrfd_10g(tmp_path / "scrfd.onnx")
    assert 3.8e6 < weights(path) < 4.4e6  # 4.23 million in its paper
    assert [found.shape[1:] for found in outputs(path, 64)] == [
        (values * 2, 64 // stride, 64 // stride) for stride in (8, 16, 32) for values in (1, 4, 10)
    ]
