"""Vectors made short, to be kept in memory and compared all at once: which of them may answer a search.

How like they really are, the database says, which has them whole (docs/adr/0022).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.domain import Vector

Vectors = NDArray[np.float32]

PROJECTED_SIZE = 160
"""In a large collection, codes are of as many parts of a vector: along its widest directions (PCA)."""

# Values are kept in steps of a 63rd of the largest: with more, sums overflow on CPUs without VNNI.
_LARGEST_CODE = 63
_LARGEST_OF_PROBE = 127
_TINY = 1e-30
_PROBE_ZERO = 128
# A value is rounded by up to half a step, so by a twelfth of its square on average. So many deviations of a
# whole product are more than any search ever sees.
_MARGIN = 6 / math.sqrt(12)
_SAMPLED, _SAMPLE_SPARE = 64, 8


@dataclass(frozen=True, slots=True)
class Compared:
    """Products of vectors and a probe, (n,), as integers.

    Attributes:
        scale: what 1 stands for.
        margin: by how much a product may be wrong, in its true measure.
    """

    products: NDArray[np.int32]
    scale: float
    margin: float

    def rows_from(self, least: float, most: int | None = None) -> NDArray[np.intp]:
        """Rows whose product is this much or more; of more than `most` those with the largest products."""
        near = self.products >= math.ceil(max(least / self.scale, np.iinfo(np.int32).min))
        if most is None or np.count_nonzero(near) <= most:
            return np.flatnonzero(near)
        # What a sample says to be surely enough of them is ranked, and seldom all.
        sample = self.products[::_SAMPLED]
        some = min(len(sample), 2 * most // _SAMPLED + _SAMPLE_SPARE)
        rows = np.flatnonzero(self.products >= np.partition(sample, len(sample) - some)[len(sample) - some])
        if len(rows) < most:
            rows = np.flatnonzero(near)
        products = self.products[rows]
        least_kept = np.partition(products, len(rows) - most)[len(rows) - most]
        return np.asarray(rows[products >= least_kept], np.intp)


class Codes:
    """Of n vectors, a byte a value.

    Args:
        vectors: (n, size), of unit length, or projections of such
    """

    def __init__(self, vectors: Vectors) -> None:
        self._step = max(float(np.abs(vectors).max()), _TINY) / _LARGEST_CODE
        scaled = vectors / np.float32(self._step)
        codes = np.rint(scaled, out=scaled).astype(np.int8)
        self._products = _products_with(np.ascontiguousarray(codes.T))
        self.count: int = codes.shape[0]
        # The runtime keeps them as they came and as it needs them.
        self.nbytes: int = 2 * codes.nbytes

    def compare(self, probe: Vector) -> Compared:
        """Products with a probe of the same size."""
        step = max(float(np.abs(probe).max()), _TINY) / _LARGEST_OF_PROBE
        turned = (np.rint(probe / np.float32(step)) + _PROBE_ZERO).astype(np.uint8)
        products: NDArray[np.int32] = self._products.run(None, {"probe": turned[None]})[0][0]
        return Compared(products, step * self._step, (step + self._step) * _MARGIN)


def projection_of(vectors: Vectors) -> Vectors:
    """Directions that hold most of what tells these vectors apart, (size, PROJECTED_SIZE)."""
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    return np.ascontiguousarray(directions[:, : -PROJECTED_SIZE - 1 : -1], np.float32)


def _products_with(codes: NDArray[np.int8]) -> onnxruntime.InferenceSession:
    """A network of one layer: 8-bit products with a matrix are what an inference runtime is fastest at."""
    size, count = codes.shape
    zero = numpy_helper.from_array(np.array(_PROBE_ZERO, np.uint8), "zero")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["probe", "codes", "zero"], ["products"])],
        "products",
        [helper.make_tensor_value_info("probe", TensorProto.UINT8, [1, size])],
        [helper.make_tensor_value_info("products", TensorProto.INT32, [1, count])],
        [numpy_helper.from_array(codes, "codes"), zero],
    )
    model: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
