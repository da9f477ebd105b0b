"""The one place that chooses the inference runtime and its threads."""

import os
from pathlib import Path

import onnxruntime


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
