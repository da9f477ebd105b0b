"""How the cosines of all pairs are spread, and the trade between the two kinds of errors (DET)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.measure.verification import Floats, Genuine

BIN = 0.02
# Steps in which the DET curve looks for its thresholds.
_FINE = 0.0005
_PER_BIN = round(BIN / _FINE)
DET_POINTS = 60
_BLOCK = 512

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Shares of the pairs by cosine, in bins of `width` from -1 on."""

    width: float
    impostor: tuple[float, ...]
    genuine: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DetPoint:
    """At a cosine: the share of impostor pairs that reach it, and that of genuine pairs that don't."""

    cosine: float
    fmr: float
    fnmr: float


@dataclass(frozen=True, slots=True)
class Spread:
    histogram: Histogram
    det: tuple[DetPoint, ...]


def spread(vectors: NDArray[np.float32], people: NDArray[np.intp], genuine: Genuine) -> Spread:
    """The cosines of every photo with every photo of other people, beside those of the genuine pairs.

    Args:
        vectors: (n, d), unit length.
        people: (n,), a number for each person.
        genuine: some pairs, at least one.
    """
    impostor = np.zeros(round(2 / _FINE), np.int64)
    for start in range(0, len(vectors), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(vectors)))[:, None]
        different = (people[rows] != people) & (rows < np.arange(len(vectors)))
        impostor += _counts((vectors[rows[:, 0]] @ vectors.T)[different])
    same = _counts(genuine.cosines)
    return Spread(Histogram(BIN, _shares(impostor), _shares(same)), _det(impostor, same))


def _counts(cosines: NDArray[np.floating]) -> Counts:
    places = np.clip(((cosines + 1) / _FINE).astype(np.intp), 0, round(2 / _FINE) - 1)
    return np.bincount(places, minlength=round(2 / _FINE))


def _shares(counts: Counts) -> tuple[float, ...]:
    shares = counts.reshape(-1, _PER_BIN).sum(axis=1) / counts.sum()
    return tuple(float(share) for share in shares)


def _det(impostor: Counts, same: Counts) -> tuple[DetPoint, ...]:
    """From all pairs to one false match, at equal steps of the rate's logarithm."""
    total = int(impostor.sum())
    fmr = impostor[::-1].cumsum()[::-1] / total
    fnmr: Floats = (same.cumsum() - same) / same.sum()
    rates = np.geomspace(1 / total, 1, DET_POINTS)
    # The first step that is strict enough for each rate; the last step always is, or no cosine is.
    at = np.unique(np.minimum(np.searchsorted(-fmr, -rates), len(fmr) - 1))
    return tuple(
        DetPoint(round(float(place * _FINE - 1), 4), float(fmr[place]), float(fnmr[place])) for place in at
    )
