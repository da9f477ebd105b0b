"""Networks of one picture size in OpenVINO, which computes in bf16 on CPUs that have it.

The package is an extra; nothing here is imported before it is asked for.
"""

from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import openvino

from app.domain import Floats
from app.engine import graphs

# Only so does a call compute in the thread that makes it. With more streams OpenVINO hands it to threads of
# its own and waits for them, for ever if they hang (docs/adr/0017).
_IN_THE_CALLERS_THREAD = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}


def has_bf16() -> bool:
    """Whether this CPU computes in bf16 itself; elsewhere OpenVINO imitates it, slower than f32."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoSession:
    """A network of one picture size, compiled for so many callers at once. Safe to call from more.

    Args:
        path: an ONNX file with one input, shape (1, 3, side, side).
        threads: how many callers there are at once.
        precision: what is computed in; unless it is named, bf16 where this CPU has it.
    """

    def __init__(self, path: Path, threads: int, precision: Literal["f32", "bf16"] | None = None) -> None:
        core = openvino.Core()
        model = core.read_model(graphs.for_openvino(path))
        self.side: int = model.inputs[0].partial_shape[2].get_length()
        model.reshape([1, 3, self.side, self.side])
        precision = precision or ("bf16" if has_bf16() else "f32")
        chosen = {**_IN_THE_CALLERS_THREAD, "INFERENCE_PRECISION_HINT": precision}
        self._free: SimpleQueue[_Lane] = SimpleQueue()
        # One after the other: first runs at the same time are where others have seen OpenVINO hang.
        for _ in range(threads):
            self._free.put(_Lane(core.compile_model(model, "CPU", chosen)))

    def run(self, blob: Floats) -> list[Floats]:
        """All outputs for an input, shape (1, 3, side, side)."""
        lane = self._free.get()
        try:
            return lane.run(blob)
        finally:
            self._free.put(lane)


class _Lane:
    """A compiled model for one caller at a time, which shares nothing with others; warm."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self._request.infer(share_outputs=True)
        # Views of the tensors themselves: a run moves no tensor in or out, it only computes.
        self._input: Floats = self._request.input_tensors[0].data
        self._outputs: list[Floats] = [tensor.data for tensor in self._request.output_tensors]

    def run(self, blob: Floats) -> list[Floats]:
        self._input[...] = blob
        self._request.infer(share_outputs=True)
        return [output.copy() for output in self._outputs]
