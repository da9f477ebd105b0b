"""The one place that chooses the inference runtime."""

from pathlib import Path

import onnxruntime

from app.engine import graphs

_CUDA = "CUDAExecutionProvider"
_CPU_ALONE = ["CPUExecutionProvider"]


def providers() -> list[str | tuple[str, dict[str, str]]]:
    """What models run on: an NVIDIA GPU where this build of onnxruntime knows one, then the CPU.

    A build for GPUs on a machine without one says so in its log and goes on with the CPU.
    """
    if _CUDA not in onnxruntime.get_available_providers():
        return [*_CPU_ALONE]
    # TF32 would drop digits, and a collection's vectors may come from a GPU and from a CPU.
    return [(_CUDA, {"use_tf32": "0"}), *_CPU_ALONE]


def open_session(model: Path | bytes) -> onnxruntime.InferenceSession:
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
    chosen = providers()
    if chosen == _CPU_ALONE:
        model = graphs.for_cpu(model)
    return onnxruntime.InferenceSession(model, options, providers=chosen)
