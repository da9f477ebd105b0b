"""The one place that chooses the inference runtime."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from app.domain import Floats
from app.engine.onnx_session import OnnxSession, has_cuda
from app.settings import SettingsError

# What their results are in bf16 was measured (docs/accuracy.md).
_FOR_OPENVINO = {"w600k_mbf.onnx", "2d106det.onnx"}


class Session(Protocol):
    """An open network. Safe to call from several threads."""

    side: int
    """Of the square that it sees, in pixels; 0 when it takes any size."""

    def run(self, blob: Floats) -> list[Floats]:
        """All outputs for an input, shape (1, 3, height, width); computed for the thread that calls."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What networks run in, for so many callers at once."""

    name: Literal["onnxruntime", "openvino", "cuda"] = "onnxruntime"
    threads: int = 1

    def open(self, model: Path | bytes) -> Session:
        """Open a network for pictures of any size, which OpenVINO runs no faster (docs/adr/0017)."""
        return OnnxSession(model, cuda=self.name == "cuda")

    def open_of_one_size(self, path: Path) -> Session:
        """Open a network for pictures of the one size that its file names.

        Those that were not measured in bf16 stay in ONNX Runtime, for in f32 OpenVINO gains nothing.
        """
        if self.name != "openvino" or path.name not in _FOR_OPENVINO:
            return self.open(path)
        from app.engine.openvino_session import OpenVinoSession

        return OpenVinoSession(path, self.threads)


ONNX_RUNTIME = Runtime()


def choose(setting: Literal["auto", "onnxruntime", "openvino", "cuda"], threads: int) -> Runtime:
    """The runtime that RUNTIME names. `auto` is a GPU where onnxruntime knows one, else OpenVINO where it is
    installed and this CPU has bf16, else ONNX Runtime.

    Raises:
        SettingsError: it is not installed.
    """
    if setting == "cuda" and not has_cuda():
        raise SettingsError("RUNTIME=cuda needs onnxruntime-gpu in place of onnxruntime")
    if setting == "openvino" and not _has_openvino():
        raise SettingsError("RUNTIME=openvino needs OpenVINO: install the extra `openvino`")
    if setting != "auto":
        return Runtime(setting, threads)
    if has_cuda():
        return Runtime("cuda", threads)
    return Runtime("openvino" if _has_openvino() and _has_bf16() else "onnxruntime", threads)


def _has_openvino() -> bool:
    return find_spec("openvino") is not None


def _has_bf16() -> bool:
    from app.engine.openvino_session import has_bf16

    return has_bf16()
