"""Networks in ONNX Runtime."""

from pathlib import Path

import onnxruntime

from app.domain import Floats
from app.engine import graphs

_CUDA = "CUDAExecutionProvider"


def has_cuda() -> bool:
    """Whether this build of onnxruntime knows NVIDIA GPUs.

    Such a build on a machine without one says so in its log and goes on with the CPU.
    """
    return _CUDA in onnxruntime.get_available_providers()


def open_session(model: Path | bytes, *, cuda: bool = False) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session that computes in the thread that calls it, or on a GPU.

    One thread a call, and one calling thread a core, gives more images a second than several threads
    a call: recognition models are too small to be split well. Sessions are safe to share.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena would keep the largest image's buffers for every thread, for ever.
    options.enable_cpu_mem_arena = False
    if not cuda:
        model = graphs.for_onnxruntime(model)
    return onnxruntime.InferenceSession(model, options, providers=providers(cuda=cuda))


def providers(*, cuda: bool) -> list[str | tuple[str, dict[str, str]]]:
    """What a session runs on: the CPU, after a GPU where one is wanted."""
    # TF32 would drop digits, and a collection's vectors may come from a GPU and from a CPU.
    return [*([(_CUDA, {"use_tf32": "0"})] if cuda else []), "CPUExecutionProvider"]


class OnnxSession:
    """A network of any picture size. Safe to call from several threads."""

    def __init__(self, model: Path | bytes, *, cuda: bool = False) -> None:
        self._session = open_session(model, cuda=cuda)
        given = self._session.get_inputs()[0]
        self._input = given.name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.side: int = given.shape[2] if isinstance(given.shape[2], int) else 0

    def run(self, blob: Floats) -> list[Floats]:
        """All outputs for an input, shape (1, 3, height, width)."""
        found: list[Floats] = self._session.run(self._outputs, {self._input: blob})
        return found
