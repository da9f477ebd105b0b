"""Networks in OpenVINO, which computes in bf16 on CPUs that have it.

The package is an extra; nothing here is imported before it is asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Literal

import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from app.domain import Floats, Pixels
from app.engine import graphs
from app.engine.onnx_session import OnnxSession
from app.engine.scaling import Blob, Scaling, Size

Precision = Literal["f32", "bf16"]

# Only so does a call compute in the thread that makes it. With more streams OpenVINO hands it to threads of
# its own and waits for them, for ever if they hang (docs/adr/0017).
_IN_THE_CALLERS_THREAD = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
# One after the other: first runs at the same time are where others have seen OpenVINO hang.
_OPENING = Lock()
# In bf16 a detector takes two thirds of its time in ONNX Runtime.
_LEAST_FILLED = 0.7
# On Zen 5 with bf16 a face of w600k_mbf takes 3.0 ms alone, 2.75 of four and 2.85 of eight.
_AT_ONCE = 4


def has_bf16() -> bool:
    """Whether this CPU computes in bf16 itself; elsewhere OpenVINO imitates it, slower than f32."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoSession:
    """A network of one picture size, compiled for so many callers at once. Safe to call from more.

    What takes several pictures is compiled when there are several for the first time.

    Args:
        path: an ONNX file with one input, shape (1, 3, side, side).
        scaling: what it expects of its input.
        threads: how many callers there are at once.
        several: whether there are often several pictures at once, for which there are runs of their own.
        precision: what is computed in; unless it is named, bf16 where this CPU has it.
    """

    def __init__(
        self,
        path: Path,
        scaling: Scaling,
        threads: int,
        precision: Precision | None = None,
        *,
        several: bool = False,
    ) -> None:
        model = _taking_pictures(path, scaling)
        self.side: int = model.inputs[0].partial_shape[1].get_length()
        self._lanes: dict[int, _Lanes] = {}
        for count in (_AT_ONCE, 1) if several else (1,):
            shape = (count, self.side, self.side, 3)
            self._lanes[count] = _Lanes(model, shape, threads, precision)
        self._lanes[1].open_all()

    def canvas(self, size: Size) -> Size:
        """The size of the canvas that a picture of some size had best lie on."""
        return size

    def together(self, count: int) -> int:
        """How many of so many pictures a run had best take."""
        return next(taken for taken in self._lanes if taken <= count)

    def blob(self, pictures: Sequence[Pixels]) -> Pixels:
        """Pictures of the one size as the network takes them, shape (pictures, side, side, 3)."""
        return np.stack(pictures)

    def run(self, blob: Blob) -> list[Floats]:
        """All outputs for what `blob` makes, of as many pictures as `together` names."""
        return self._lanes[len(blob)].run(blob)


class OpenVinoCanvases:
    """A network of any picture size: what fits the usual ones in OpenVINO, the rest in ONNX Runtime.

    OpenVINO would take any size, too, but each new one costs it some ms, and each change of size one or two.
    A canvas is compiled when a picture fits it for the first time.

    Args:
        path: an ONNX file with one input, shape (1, 3, height, width).
        scaling: what it expects of its input.
        threads: how many callers there are at once.
        canvases: heights and widths of the pictures that are seen here.
        precision: what is computed in; unless it is named, bf16 where this CPU has it.
    """

    side = 0

    def __init__(
        self,
        path: Path,
        scaling: Scaling,
        threads: int,
        canvases: Sequence[Size],
        precision: Precision | None = None,
    ) -> None:
        model = _taking_pictures(path, scaling)
        self._lanes: dict[Size, _Lanes] = {
            (height, width): _Lanes(model, (1, height, width, 3), threads, precision)
            for height, width in canvases
        }
        self._others = OnnxSession(path, scaling)

    def canvas(self, size: Size) -> Size:
        """The size of the canvas that a picture of some size had best lie on."""
        return next((canvas for canvas in self._lanes if _fits(size, canvas)), size)

    def together(self, count: int) -> int:
        """How many of so many pictures a run had best take."""
        return min(count, 1)

    def blob(self, pictures: Sequence[Pixels]) -> Blob:
        """A picture as what sees it takes it, shape (1, height, width, 3) or (1, 3, height, width)."""
        (picture,) = pictures
        return picture[None] if picture.shape[:2] in self._lanes else self._others.blob(pictures)

    def run(self, blob: Blob) -> list[Floats]:
        """All outputs for what `blob` makes."""
        lanes = self._lanes.get(blob.shape[1:3])
        return self._others.run(blob) if lanes is None else lanes.run(blob)


def _fits(size: Size, canvas: Size) -> bool:
    """Whether a picture lies within a canvas and leaves no more of it empty than OpenVINO gains."""
    (height, width), (canvas_height, canvas_width) = size, canvas
    within = height <= canvas_height and width <= canvas_width
    return within and height * width >= _LEAST_FILLED * canvas_height * canvas_width


class _Lanes:
    """Compiled models for pictures of one shape, one for each caller, which share nothing; warm.

    Each is opened when there are more callers at once than open ones, unless `open_all` was called.
    """

    def __init__(
        self, model: openvino.Model, shape: Sequence[int], threads: int, precision: Precision | None
    ) -> None:
        self._model, self._shape = model, list(shape)
        precision = precision or ("bf16" if has_bf16() else "f32")
        self._chosen = {**_IN_THE_CALLERS_THREAD, "INFERENCE_PRECISION_HINT": precision}
        self._free: SimpleQueue[_Lane] = SimpleQueue()
        self._threads = threads
        self.opened = 0

    def open_all(self) -> None:
        while (lane := self._opened()) is not None:
            self._free.put(lane)

    def run(self, blob: Blob) -> list[Floats]:
        lane = self._taken()
        try:
            return lane.run(blob)
        finally:
            self._free.put(lane)

    def _taken(self) -> "_Lane":
        try:
            return self._free.get_nowait()
        except Empty:
            return self._opened() or self._free.get()

    def _opened(self) -> "_Lane | None":
        """One more; None when there is one for each caller."""
        with _OPENING:
            if self.opened == self._threads:
                return None
            self._model.reshape(self._shape)
            lane = _Lane(openvino.Core().compile_model(self._model, "CPU", self._chosen))
            self.opened += 1
            return lane


class _Lane:
    """A compiled model for one caller at a time; warm."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self._request.infer(share_outputs=True)
        # Views of the tensors themselves: asking for them at each run takes 0.2 ms.
        self._input: Pixels = self._request.input_tensors[0].data
        self._outputs: list[Floats] = [tensor.data for tensor in self._request.output_tensors]

    def run(self, blob: Blob) -> list[Floats]:
        self._input[...] = blob
        self._request.infer(share_outputs=True)
        return [output.copy() for output in self._outputs]


def _taking_pictures(path: Path, scaling: Scaling) -> openvino.Model:
    """A network that takes pictures as they are, shape (count, height, width, 3), BGR, and scales them."""
    steps = PrePostProcessor(openvino.Core().read_model(graphs.for_openvino(path)))
    given = steps.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.model().set_layout(openvino.Layout("NCHW"))
    given.preprocess().convert_element_type(openvino.Type.f32)
    if scaling.rgb:
        given.preprocess().reverse_channels()
    given.preprocess().mean(scaling.mean).scale(scaling.deviation)
    return steps.build()
