"""Networks in ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from app.domain import Floats, Pixels
from app.engine import graphs
from app.engine.scaling import Blob, Scaling, Size

_CUDA = "CUDAExecutionProvider"
# Two faces of w600k_mbf in a run take 1 to 3 % less than two runs; four take 5 % more where two threads run.
_AT_ONCE = 2


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
    """A network of any picture size. Safe to call from several threads.

    Args:
        model: an ONNX file, or what it holds, with one input, shape (1 or any number, 3, height, width).
        scaling: what it expects of its input.
        cuda: whether it runs on a GPU.
    """

    def __init__(self, model: Path | bytes, scaling: Scaling, *, cuda: bool = False) -> None:
        self._session = open_session(model, cuda=cuda)
        self._scaling = scaling
        given = self._session.get_inputs()[0]
        self._input = given.name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._at_once = 1 if isinstance(given.shape[0], int) else _AT_ONCE
        self.side: int = given.shape[2] if isinstance(given.shape[2], int) else 0

    def canvas(self, size: Size) -> Size:
        """The size of the canvas that a picture of some size had best lie on."""
        return size

    def together(self, count: int) -> int:
        """How many of so many pictures a run had best take."""
        return min(count, self._at_once)

    def blob(self, pictures: Sequence[Pixels]) -> Floats:
        """Pictures of one size as the network takes them, shape (pictures, 3, height, width)."""
        return self._scaling.blob(pictures)

    def run(self, blob: Blob) -> list[Floats]:
        """All outputs for what `blob` makes."""
        found: list[Floats] = self._session.run(self._outputs, {self._input: blob})
        return found
