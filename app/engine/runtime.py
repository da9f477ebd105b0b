"""The one place that chooses the inference runtime and its threads."""

import os
from pathlib import Path

import onnxruntime

_CUDA = "CUDAExecutionProvider"


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
    return onnxruntime.InferenceSession(model, options, providers=providers())
