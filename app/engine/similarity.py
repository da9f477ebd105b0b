"""Cosine to Similarity: a monotone curve per face model, so that a percentage states an error rate.

80 means that 1 in 10,000 comparisons of different people scores as high, 90 one in 100,000, 99 one in
a million. AWS publishes no formula; the reasons for this one are in docs/adr/0004. Thresholds are
applied to the cosine; the curve is for people.
"""

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Self

from app.engine.packs import Pack

# What a Similarity promises: the false-match rate of single photos of different people.
RATE_AT_SIMILARITY = {55.0: 1e-2, 70.0: 1e-3, 80.0: 1e-4, 90.0: 1e-5, 99.0: 1e-6}
# How much likelier a stranger matches the mean of five faces than one face at the same cosine: 2.3 times at
# a rate of 1e-4, 2.9 at 1e-5 (docs/accuracy.md).
MEAN_OF_FACES_FACTOR = 3.0
# A laxer threshold finds hardly anybody more: at this rate 99.77 % of lfw-dev's genuine pairs are found.
LAXEST_RATE = 1e-3
# A stricter threshold misses half of lfw-dev's genuine pairs, for recognisers whose curve says no other.
STRICTEST_COSINE = 0.6


class SimilarityCurve:
    """Piecewise linear between knots of (cosine, similarity), both strictly rising.

    `rates` are false-match rates of single photos and the cosines that have them, from the highest rate to
    the lowest, two or more; without them they are what the similarities of the knots promise. No automatic
    threshold is above `strictest`.
    """

    def __init__(
        self,
        knots: Sequence[tuple[float, float]],
        rates: Sequence[tuple[float, float]] | None = None,
        strictest: float = STRICTEST_COSINE,
    ) -> None:
        self._strictest = strictest
        self._cosines = [cosine for cosine, _ in knots]
        self._similarities = [similarity for _, similarity in knots]
        if rates is None:
            rates = [(RATE_AT_SIMILARITY[at], cosine) for cosine, at in knots if at in RATE_AT_SIMILARITY]
        # Powers of ten below 1, which rise with the cosine.
        self._decades = [-math.log10(rate) for rate, _ in rates]
        self._cosines_at_decades = [cosine for _, cosine in rates]

    @classmethod
    def of(cls, pack: Pack) -> Self:
        """The curve of a pack's recogniser, from `app/engine/curves`."""
        name = pack.recogniser.name.removesuffix(".onnx")
        curve = json.loads((files("app.engine") / "curves" / f"{name}.json").read_text())
        measured = curve.get("false_match_rates")
        return cls(
            [(cosine, similarity) for cosine, similarity in curve["knots"]],
            measured and [(point["rate"], point["cosine"]) for point in measured],
            curve.get("half_found_at", STRICTEST_COSINE),
        )

    def similarity(self, cosine: float) -> float:
        """Similarity, 0..100, of two unit vectors with this cosine, -1..1."""
        return _interpolate(cosine, self._cosines, self._similarities)

    def cosine(self, similarity: float) -> float:
        """The least cosine that has this similarity; -1 for 0, so that 0 lets everything pass."""
        if similarity <= self._similarities[0]:
            return -1.0
        return _interpolate(similarity, self._similarities, self._cosines)

    def cosine_for_fpir(self, members: int, target: float) -> float:
        """The least cosine at which a stranger matches any member with a probability of at most `target`.

        With FPIR = 1 - (1 - FMR)^members, a single comparison may have the rate
        (1 - (1 - target)^(1 / members)) / 3; the 3 is for members who are means of several faces, so that
        members of one face get about a third of the target. That rate is at most 1e-3, the floor, and the
        cosine at most the strictest, where the target no longer holds. Cosines between measured rates are
        interpolated over the rate's logarithm. Beyond the lowest rate each power of ten costs as much cosine
        as the dearest measured one, because the last is too cheap: look-alikes make the tail long.

        It holds for strangers as varied as LFW's and not related to members; identical twins reach 0.63. For
        a curve that is not fitted it is the order of magnitude of w600k_r50's published anchor, and for
        glintr100 a guess: measure before relying on it.

        Args:
            members: how many are compared; none counts as one.
            target: above 0 and below 1.

        Raises:
            ValueError: the target is no such rate.
        """
        if not 0 < target < 1:
            raise ValueError(f"the target {target} is not above 0 and below 1")
        allowed = -math.expm1(math.log1p(-target) / max(members, 1)) / MEAN_OF_FACES_FACTOR
        decades = -math.log10(min(allowed, LAXEST_RATE))
        beyond = max(0.0, decades - self._decades[-1])
        cosine = _interpolate(decades, self._decades, self._cosines_at_decades)
        return min(cosine + beyond * self._dearest_decade(), self._strictest)

    def _dearest_decade(self) -> float:
        """The most cosine that a ten times lower rate costs between two neighbouring rates."""
        points = zip(self._decades, self._cosines_at_decades, strict=True)
        return max((after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(points))


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
