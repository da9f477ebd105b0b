"""Which inference runtime models are opened with."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from app.engine import packs
from app.engine.detector import Detector
from app.engine.networks import open_detector, open_embedder
from app.engine.runtime import open_session, providers
from app.images.decode import decode
from app.measure.engine import LIMITS
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


def test_many_threads_may_share_a_model() -> None:
    pack, folder = packs.require("mobile", Path("unused"))
    embedder = open_embedder(pack, folder)
    image = decode(photos.group(), LIMITS)
    faces = Detector(open_detector(pack, folder), 0.5).detect(image)
    alone = [embedder.embed(image, face.points).vector for face in faces]
    with ThreadPoolExecutor(6) as pool:
        together = list(
            pool.map(lambda turn: embedder.embed(image, faces[turn % 6].points).vector, range(60))
        )
    for turn, vector in enumerate(together):
        np.testing.assert_allclose(vector, alone[turn % 6], atol=1e-6)
