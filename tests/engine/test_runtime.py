"""Which inference runtime models are opened with."""

from pathlib import Path

import onnxruntime
import pytest

from app.engine import packs
from app.engine.runtime import open_session, providers


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
