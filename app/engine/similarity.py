"""Cosine to Similarity: a monotone curve per face model, so that a percentage states an error rate.

80 means that 1 in 10,000 comparisons of different people scores as high, 90 one in 100,000, 99 one in
a million. AWS publishes no formula; the reasons for this one are in docs/adr/0004. Thresholds are
applied to the cosine; the curve is for people.
"""

import json
from bisect import bisect_left, bisect_right
from importlib.resources import files
from typing import Self

from app.engine.packs import Pack


class SimilarityCurve:
    """Piecewise linear between knots of (cosine, similarity), both strictly rising."""

    def __init__(self, knots: list[tuple[float, float]]) -> None:
        self._cosines = [cosine for cosine, _ in knots]
        self._similarities = [similarity for _, similarity in knots]

    @classmethod
    def of(cls, pack: Pack) -> Self:
        """The curve of a pack's recogniser, from `app/engine/curves`."""
        name = pack.recogniser.name.removesuffix(".onnx")
        text = (files("app.engine") / "curves" / f"{name}.json").read_text()
        return cls([(cosine, similarity) for cosine, similarity in json.loads(text)["knots"]])

    def similarity(self, cosine: float) -> float:
        """Similarity, 0..100, of two unit vectors with this cosine, -1..1."""
        return _interpolate(cosine, self._cosines, self._similarities)

    def cosine(self, similarity: float) -> float:
        """The least cosine that has this similarity; -1 for 0, so that 0 lets everything pass."""
        if similarity <= self._similarities[0]:
            return -1.0
        return _interpolate(similarity, self._similarities, self._cosines)


def _interpolate(x: float, xs: list[float], ys: list[float]) -> float:
    if x <= xs[0]:
        return ys[0]
    if x >= xs[-1]:
        return ys[-1]
    right = bisect_right(xs, x)
    if right == bisect_left(xs, x) + 1:
        return ys[right - 1]
    share = (x - xs[right - 1]) / (xs[right] - xs[right - 1])
    return ys[right - 1] + share * (ys[right] - ys[right - 1])
