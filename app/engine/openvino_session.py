"""OpenVINO behind the interface of `runtime`: small models of one size run twice as fast in it on a CPU.

The package is an extra; nothing here is imported before it is asked for.
"""

import threading
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def open_of_one_size(path: Path, threads: int) -> "OpenVinoSession | None":
    """An ONNX file's model; None when it takes pictures of any size."""
    core = openvino.Core()
    model = core.read_model(path)
    height = model.inputs[0].partial_shape[2]
    return OpenVinoSession(core, model, height.get_length(), threads) if height.is_static else None


class OpenVinoSession:
    """A model with inputs of one size, computed in 32-bit floats like ONNX Runtime's.

    Args:
        side: of its square input, in pixels.
        threads: how many callers there are at once.
    """

    def __init__(self, core: openvino.Core, model: openvino.Model, side: int, threads: int) -> None:
        self.side = side
        model.reshape([1, 3, side, side])
        self._compiled = core.compile_model(
            model,
            "CPU",
            {
                # A stream of one thread for each caller. bf16, where a CPU has it, would change vectors.
                "NUM_STREAMS": threads,
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": "f32",
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._own = threading.local()

    def run(self, blob: Floats) -> list[Floats]:
        """All outputs for an input, shape (1, 3, side, side)."""
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        found = request.infer({0: blob})
        return [np.asarray(found[output], dtype=np.float32) for output in self._compiled.outputs]
