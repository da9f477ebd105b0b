"""Which inference runtime models are opened with."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from app.domain import Detail, Embed, Look
from app.engine import packs
from app.engine.detector import Detector
from app.engine.embedder import Embedder
from app.engine.pipeline import Pipeline
from app.engine.runtime import Choice, Runtime, RuntimeMissingError, choose, open_session, providers
from app.images.decode import EncodedPicture, decode
from app.measure.engine import LIMITS
from app.metrics import Metrics
from tests import photos


def test_the_cpu_is_used_where_onnxruntime_knows_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert providers() == ["CPUExecutionProvider"]


def test_a_gpu_comes_before_the_cpu_and_keeps_all_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    assert providers() == [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]


def test_a_session_opens_with_what_is_here() -> None:
    pack = packs.PACKS["mobile"]
    session = open_session(packs.folder_of(pack, Path("models")) / pack.recogniser.name)
    assert session.get_providers()[-1] == "CPUExecutionProvider"


def test_auto_takes_a_gpu_first_then_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert choose("auto", 2) == Runtime("openvino", 2)
    assert choose("onnxruntime", 2) == Runtime("onnxruntime", 2)
    with pytest.raises(RuntimeMissingError, match="onnxruntime-gpu"):
        choose("cuda", 2)
    monkeypatch.setattr("app.engine.runtime.find_spec", lambda _: None)
    assert choose("auto", 2) == Runtime("onnxruntime", 2)
    with pytest.raises(RuntimeMissingError, match="extra `openvino`"):
        choose("openvino", 2)
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    assert choose("auto", 2).name == "cuda"


def test_vectors_of_both_runtimes_are_the_same_to_what_half_precision_keeps() -> None:
    """Collections may be filled by one and searched by the other."""
    pack, folder = packs.require("mobile", Path("unused"))
    choices: tuple[Choice, ...] = ("onnxruntime", "openvino")
    opened = {name: Pipeline(pack, folder, 0.5, Metrics(), choose(name, 2)) for name in choices}
    look = Look(Embed.ALL, 10, detail=Detail.POINTS)
    for data in (photos.group(), photos.astronaut()):
        found = {name: one.analyse(EncodedPicture(data, LIMITS), look) for name, one in opened.items()}
        assert len(found["openvino"]) == len(found["onnxruntime"]) >= 1
        for one, other in zip(found["onnxruntime"], found["openvino"], strict=True):
            assert one.box == other.box
            assert one.embedding is not None
            assert other.embedding is not None
            assert np.abs(one.embedding - other.embedding).max() < 2e-5  # half precision keeps 1e-4 of such
            assert one.details is not None
            assert other.details is not None
            assert one.details.pose.yaw == pytest.approx(other.details.pose.yaw, abs=0.05)


def test_many_threads_may_share_a_model() -> None:
    pack, folder = packs.require("mobile", Path("unused"))
    embedder = Embedder(folder / pack.recogniser.name, pack.vector_size, choose("openvino", 2))
    image = decode(photos.group(), LIMITS)
    faces = Detector(folder / pack.detector.name, 0.5).detect(image)
    alone = [embedder.embed(image, face.points).vector for face in faces]
    with ThreadPoolExecutor(6) as pool:
        together = list(
            pool.map(lambda turn: embedder.embed(image, faces[turn % 6].points).vector, range(60))
        )
    for turn, vector in enumerate(together):
        np.testing.assert_allclose(vector, alone[turn % 6], atol=1e-6)
