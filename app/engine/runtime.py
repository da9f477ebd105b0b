"""The one place that chooses the inference runtime and its threads."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Choice = Literal["auto", "onnxruntime", "cuda"]
_CUDA = "CUDAExecutionProvider"


class RuntimeMissingError(Exception):
    """The chosen runtime is not installed; the text says what to do."""


class Session(Protocol):
    """An open model. Safe to call from several threads."""

    side: int
    """Of the square that it sees, in pixels; 0 when it takes any size."""

    def run(self, blob: Floats) -> list[Floats]:
        """All outputs for an input, shape (1, 3, height, width); computed for the thread that calls."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What models run in, for so many callers at once."""

    name: Literal["onnxruntime", "cuda"] = "onnxruntime"
    threads: int = 1

    def open(self, path: Path) -> Session:
        """Open a model."""
        return OnnxSession(path)


def choose(choice: Choice, threads: int) -> Runtime:
    """The runtime that RUNTIME names; `auto`: a GPU if onnxruntime knows one.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    has_cuda = _CUDA in onnxruntime.get_available_providers()
    if choice == "cuda" and not has_cuda:
        raise RuntimeMissingError("RUNTIME=cuda needs onnxruntime-gpu in place of onnxruntime")
    return Runtime("cuda" if has_cuda and choice != "onnxruntime" else "onnxruntime", threads)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def providers() -> list[str | tuple[str, dict[str, str]]]:
    """What models run on: an NVIDIA GPU where this build of onnxruntime knows one, then the CPU.

    A build for GPUs on a machine without one says so in its log and goes on with the CPU.
    """
    if _CUDA not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    # TF32 would drop digits, and a collection's vectors may come from a GPU and from a CPU.
    return [(_CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"]


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session that computes in the thread that calls it.

    One thread a call, and one calling thread a core, gives more images a second than several threads
    a call: recognition models are too small to be split well. Sessions are safe to share.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena would keep the largest image's buffers for every thread, for ever.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(path, options, providers=providers())


class OnnxSession:
    """ONNX Runtime behind the interface of this module."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        given = self._session.get_inputs()[0]
        self._input = given.name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.side: int = given.shape[2] if isinstance(given.shape[2], int) else 0

    def run(self, blob: Floats) -> list[Floats]:
        found: list[Floats] = self._session.run(self._outputs, {self._input: blob})
        return found
