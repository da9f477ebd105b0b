"""The one place that chooses the inference runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from app.domain import Floats, Pixels
from app.engine.onnx_session import OnnxSession, has_cuda
from app.engine.scaling import Blob, Scaling, Size
from app.settings import SettingsError

# What their results are in bf16 was measured (docs/accuracy.md).
_FOR_OPENVINO = {"w600k_mbf.onnx", "2d106det.onnx", "scrfd_500m_bnkps.onnx"}


class Session(Protocol):
    """An open network. Safe to call from several threads."""

    side: int
    """Of the square that it sees, in pixels; 0 when it takes any size."""

    def canvas(self, size: Size) -> Size:
        """The size of the canvas that a picture of some size had best lie on; no smaller."""

    def together(self, count: int) -> int:
        """How many of so many pictures a run had best take; 1 and more."""

    def blob(self, pictures: Sequence[Pixels]) -> Blob:
        """What a run takes: so many pictures of one size, each of shape (height, width, 3), BGR."""

    def run(self, blob: Blob) -> list[Floats]:
        """All outputs for what `blob` makes, shape (pictures, ...); computed for the thread that calls."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What networks run in, for so many callers at once."""

    name: Literal["onnxruntime", "openvino", "cuda"] = "onnxruntime"
    threads: int = 1

    def open(self, model: Path | bytes, scaling: Scaling) -> Session:
        """Open a network for pictures of any size."""
        return OnnxSession(model, scaling, cuda=self.name == "cuda")

    def open_detector(self, path: Path, scaling: Scaling, canvases: Sequence[Size]) -> Session:
        """Open a network for pictures of any size, most of which fit one of some canvases well."""
        if not self._is_for_openvino(path):
            return self.open(path, scaling)
        from app.engine.openvino_session import OpenVinoCanvases

        return OpenVinoCanvases(path, scaling, self.threads, canvases)

    def open_of_one_size(self, path: Path, scaling: Scaling, *, several: bool = False) -> Session:
        """Open a network for pictures of the one size that its file names, often several at once."""
        if not self._is_for_openvino(path):
            return self.open(path, scaling)
        from app.engine.openvino_session import OpenVinoSession

        return OpenVinoSession(path, scaling, self.threads, several=several)

    def _is_for_openvino(self, path: Path) -> bool:
        """Those that were not measured in bf16 stay in ONNX Runtime, for in f32 OpenVINO gains nothing."""
        return self.name == "openvino" and path.name in _FOR_OPENVINO


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
