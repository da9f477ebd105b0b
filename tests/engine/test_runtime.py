"""Which inference runtime networks are opened with, and that all of them give the same vectors."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import pytest

from app.domain import Floats, Pixels
from app.engine import packs
from app.engine.detector import Detection, Detector
from app.engine.embedder import Embedder
from app.engine.model import Model
from app.engine.networks import ARCFACE, open_detector, open_embedder
from app.engine.onnx_session import OnnxSession, open_session, providers
from app.engine.openvino_session import OpenVinoSession
from app.engine.runtime import Runtime, choose
from app.engine.scaling import Blob, Size
from app.images.decode import decode
from app.measure.engine import LIMITS
from app.settings import SettingsError
from tests import photos

PACK, FOLDER = packs.require("mobile", Path("unused"))
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])


def test_a_gpu_comes_before_the_cpu_and_keeps_all_digits() -> None:
    assert providers(cuda=False) == [CPU]
    assert providers(cuda=True) == [(CUDA, {"use_tf32": "0"}), CPU]


def test_a_session_opens_with_what_is_here() -> None:
    assert open_session(FOLDER / PACK.recogniser.name).get_providers() == [CPU]


def test_auto_takes_a_gpu_first(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = ["TensorrtExecutionProvider", CUDA, CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    assert choose("auto", 2) == choose("cuda", 2) == Runtime("cuda", 2)
    assert choose("onnxruntime", 2) == Runtime("onnxruntime", 2)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(("bf16", "name"), [(True, "openvino"), (False, "onnxruntime")])
def test_auto_takes_openvino_where_it_gains(bf16: bool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.openvino_session.has_bf16", lambda: bf16)
    assert choose("auto", 2).name == name
    assert choose("openvino", 2) == Runtime("openvino", 2)


@pytest.mark.usefixtures("no_gpu")
def test_a_runtime_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.runtime.find_spec", lambda _: None)
    assert choose("auto", 2) == Runtime("onnxruntime", 2)
    with pytest.raises(SettingsError, match="extra `openvino`"):
        choose("openvino", 2)
    with pytest.raises(SettingsError, match="onnxruntime-gpu"):
        choose("cuda", 2)


@pytest.fixture(scope="module")
def image() -> Pixels:
    return decode(photos.group(), LIMITS)


@pytest.fixture(scope="module")
def faces(image: Pixels) -> list[Detection]:
    return Detector(open_detector(PACK, FOLDER), 0.5).detect(image)


# The least of 6,691 photos is 0.99896 with bf16 (docs/accuracy.md).
@pytest.mark.parametrize(("precision", "least"), [("f32", 0.99999), ("bf16", 0.998)])
def test_vectors_of_the_runtimes_are_interchangeable(
    precision: Literal["f32", "bf16"], least: float, image: Pixels, faces: list[Detection]
) -> None:
    """Collections may be filled by one and searched by the other. A CPU without bf16 imitates it."""
    path = FOLDER / PACK.recogniser.name
    here, there = (
        Embedder(session, PACK.vector_size)
        for session in (OnnxSession(path, ARCFACE), OpenVinoSession(path, ARCFACE, 1, precision))
    )
    cosines = [
        float(here.embed(image, face.points).vector @ there.embed(image, face.points).vector)
        for face in faces
    ]
    assert min(cosines) > least
    assert (min(cosines) < 0.99999) == (precision == "bf16")  # it really was computed in what it was named


RUNTIMES = [Runtime("onnxruntime", 2), Runtime("openvino", 2)]


@pytest.mark.parametrize(("runtime", "runs"), [(RUNTIMES[0], [2, 2, 2]), (RUNTIMES[1], [4, 1, 1])])
def test_several_faces_share_runs_and_keep_their_vectors(
    runtime: Runtime,
    runs: list[int],
    image: Pixels,
    faces: list[Detection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedder = open_embedder(PACK, FOLDER, runtime)
    alone = [embedder.embed(image, face.points).vector for face in faces]
    seen: list[int] = []
    infer = Model.infer

    def counted(model: Model, blob: Blob) -> list[Floats]:
        seen.append(len(blob))
        return infer(model, blob)

    monkeypatch.setattr(Model, "infer", counted)
    together = embedder.embed_all([(image, face.points) for face in faces])
    assert seen == runs
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other.vector, atol=1e-6)


def test_threads_open_no_more_than_there_are_callers_for(image: Pixels, faces: list[Detection]) -> None:
    session = OpenVinoSession(FOLDER / PACK.recogniser.name, ARCFACE, 2, several=True)
    embedder = Embedder(session, PACK.vector_size)
    seen = [(image, face.points) for face in faces]
    first = embedder.embed_all(seen)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(embedder.embed_all, [seen] * 12))
    assert {count: lanes.opened for count, lanes in session._lanes.items()} == {4: 2, 1: 2}
    for embeddings in together:
        for one, other in zip(first, embeddings, strict=True):
            np.testing.assert_allclose(one.vector, other.vector, atol=1e-6)


def test_coarse_passes_find_the_same_faces_in_openvino(image: Pixels, faces: list[Detection]) -> None:
    detector = Detector(open_detector(PACK, FOLDER, Runtime("openvino", 1)), 0.5)
    for here, there in zip(faces, detector.detect(image), strict=True):
        np.testing.assert_allclose(here.corners, there.corners, atol=0.02 * here.longer_side)
        assert here.score == pytest.approx(there.score, abs=0.02)


@pytest.mark.parametrize(
    ("size", "canvas"),
    [
        ((448, 640), (480, 640)),
        ((384, 640), (480, 640)),
        ((640, 480), (640, 480)),
        ((320, 640), (320, 640)),  # too much of a canvas would be empty
        ((512, 640), (512, 640)),
        ((256, 256), (256, 256)),
    ],
)
def test_openvino_sees_what_fits_a_usual_canvas(size: Size, canvas: Size) -> None:
    assert open_detector(PACK, FOLDER, Runtime("openvino", 1)).canvas(size) == canvas
    assert open_detector(PACK, FOLDER).canvas(size) == size


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_many_threads_may_share_a_model(runtime: Runtime, image: Pixels, faces: list[Detection]) -> None:
    embedder = open_embedder(PACK, FOLDER, runtime)
    alone = [embedder.embed(image, face.points).vector for face in faces]
    with ThreadPoolExecutor(6) as pool:
        together = list(
            pool.map(lambda turn: embedder.embed(image, faces[turn % 6].points).vector, range(60))
        )
    for turn, vector in enumerate(together):
        np.testing.assert_allclose(vector, alone[turn % 6], atol=1e-6)
