"""False and true match rates from embeddings, with intervals that know that pairs share people."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GENUINE_PER_PERSON = 20
BOOTSTRAPS = 200
# Impostor pairs kept one by one: the highest of all, enough for a false-match rate of 1e-2.
KEPT_SHARE = 0.012
_BLOCK = 512

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """At a false-match rate: the cosine that reaches it, and the share of genuine pairs found there."""

    fmr: float
    cosine: Interval
    tar: Interval


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """At a cosine: the share of impostor pairs that reach it, how many they are, and that of genuine pairs.

    Where no impostor pair reaches it, the upper end is 3 over the pairs, as if they were independent; where
    no genuine pair misses it, the lower end is 1 - 3 over their people. `tar` is None without genuine pairs.
    """

    cosine: float
    false_matches: int
    fmr: Interval
    tar: Interval | None


@dataclass(frozen=True, slots=True)
class ImpostorTail:
    """The highest-scoring pairs of different people, best first, and how many pairs there are in all."""

    cosines: Floats
    one: NDArray[np.intp]
    other: NDArray[np.intp]
    total: int


@dataclass(frozen=True, slots=True)
class Genuine:
    """Pairs of one person each: cosine and the person's number."""

    cosines: Floats
    people: NDArray[np.intp]


def impostor_tail(
    vectors: NDArray[np.float32], people: NDArray[np.intp], reaching_to: float = 1.0
) -> ImpostorTail:
    """Compare every photo with every photo of other people, of whom there must be some.

    Args:
        vectors: (n, d), unit length.
        people: (n,), a number for each person.
        reaching_to: a cosine from which on all pairs are kept, however many they are.
    """
    total = 0
    sample = np.random.default_rng(1).choice(len(vectors), min(1500, len(vectors)), replace=False)
    scores = vectors[sample] @ vectors.T
    scores = scores[people[sample][:, None] != people[None, :]]
    floor = min(reaching_to, float(np.quantile(scores, 1 - 2 * KEPT_SHARE)))
    kept: list[tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]] = []
    for start in range(0, len(vectors), _BLOCK):
        stop = min(start + _BLOCK, len(vectors))
        cosines = vectors[start:stop] @ vectors.T
        rows = np.arange(start, stop)[:, None]
        different = (people[start:stop][:, None] != people[None, :]) & (rows < np.arange(len(vectors)))
        total += int(different.sum())
        one, other = np.nonzero(different & (cosines >= floor))
        kept.append((cosines[one, other], one + start, other))
    cosines, one, other = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    order = np.argsort(-cosines, kind="stable")
    return ImpostorTail(cosines[order].astype(np.float64), one[order], other[order], total)


def genuine_pairs(vectors: NDArray[np.float32], people: NDArray[np.intp]) -> Genuine:
    """Pairs of the same person, at most 20 a person, drawn with a fixed seed."""
    draw = np.random.default_rng(2)
    cosines: list[Floats] = []
    owners: list[NDArray[np.intp]] = []
    for person in np.unique(people):
        photos = np.flatnonzero(people == person)
        one, other = np.triu_indices(len(photos), 1)
        if len(one) > GENUINE_PER_PERSON:
            chosen = draw.choice(len(one), GENUINE_PER_PERSON, replace=False)
            one, other = one[chosen], other[chosen]
        cosines.append((vectors[photos[one]] * vectors[photos[other]]).sum(axis=1).astype(np.float64))
        owners.append(np.full(len(one), person))
    return Genuine(np.concatenate(cosines), np.concatenate(owners))


def operating_points(
    tail: ImpostorTail, genuine: Genuine, people: NDArray[np.intp], rates: list[float]
) -> list[OperatingPoint]:
    """Thresholds and true-match rates; intervals from resampling people, both kinds of pairs at once."""
    plain, low, high = _with_spread(
        tail,
        genuine,
        people,
        lambda weights, total, times: _at(tail, weights, total, genuine, times, rates),
    )
    return [
        OperatingPoint(
            rate,
            Interval(plain[index, 0], low[index, 0], high[index, 0]),
            Interval(plain[index, 1], low[index, 1], high[index, 1]),
        )
        for index, rate in enumerate(rates)
    ]


def fixed_points(
    tail: ImpostorTail, genuine: Genuine, people: NDArray[np.intp], cosines: list[float]
) -> list[FixedPoint]:
    """Error rates at thresholds, to which the tail must reach; intervals as those of `operating_points`."""

    def rates(weights: Floats, total: float, times: Floats) -> Floats:
        false = [weights[tail.cosines >= cosine].sum() for cosine in cosines]
        true = [times[genuine.cosines >= cosine].sum() for cosine in cosines]
        return np.column_stack([_share(false, total), _share(true, times.sum())])

    plain, low, high = _with_spread(tail, genuine, people, rates)
    owners = len(np.unique(genuine.people))
    points = []
    for index, cosine in enumerate(cosines):
        (fmr, tar), (fmr_low, tar_low), (fmr_high, tar_high) = plain[index], low[index], high[index]
        false = Interval(fmr, fmr_low, fmr_high if fmr > 0 else 3 / tail.total)
        true = Interval(tar, tar_low if tar < 1 else max(0.0, 1 - 3 / max(owners, 1)), tar_high)
        matches = int((tail.cosines >= cosine).sum())
        points.append(FixedPoint(cosine, matches, false, true if owners else None))
    return points


def _share(hits: list[float], total: float) -> Floats:
    """Shares of a total; not a number where a draw of people left nothing to count."""
    return np.array(hits) / total if total > 0 else np.full(len(hits), np.nan)


def _with_spread(
    tail: ImpostorTail,
    genuine: Genuine,
    people: NDArray[np.intp],
    measure: Callable[[Floats, float, Floats], Floats],
) -> tuple[Floats, Floats, Floats]:
    """What `measure` says of all pairs, and the 95 % interval of what it says when people are resampled.

    It is given the weights of the tail's pairs, that of all impostor pairs, and those of the genuine pairs.
    """
    plain = measure(np.ones(len(tail.cosines)), float(tail.total), np.ones(len(genuine.cosines)))
    spread = np.array([measure(*weights) for weights in _resampled(tail, genuine, people)])
    spread[:, np.isnan(spread).all(axis=0)] = 0  # without genuine pairs there is no true-match rate
    low, high = np.nanquantile(spread, [0.025, 0.975], axis=0)
    return plain, low, high


def _resampled(
    tail: ImpostorTail, genuine: Genuine, people: NDArray[np.intp]
) -> Iterator[tuple[Floats, float, Floats]]:
    """Weights of the pairs when people are drawn with replacement, as `_with_spread` says them."""
    count = int(people.max()) + 1
    one, other = people[tail.one], people[tail.other]
    draw = np.random.default_rng(3)
    photos = np.bincount(people, minlength=count)
    for _ in range(BOOTSTRAPS):
        times = np.bincount(draw.integers(0, count, count), minlength=count)
        drawn = float((photos * times).sum())
        total = (drawn**2 - float(((photos * times) ** 2).sum())) / 2
        yield (times[one] * times[other]).astype(float), total, times[genuine.people].astype(float)


def _at(
    tail: ImpostorTail,
    weights: Floats,
    total: float,
    genuine: Genuine,
    times: Floats,
    rates: list[float],
) -> Floats:
    """Threshold and true-match rate at each rate, shape (rates, 2), of weighted pairs."""
    passed = np.cumsum(weights)
    cosines = []
    for rate in rates:
        at = int(np.searchsorted(passed, rate * total))
        cosines.append(float(tail.cosines[min(at, len(tail.cosines) - 1)]))
    found = [float(times[genuine.cosines >= cosine].sum()) for cosine in cosines]
    return np.column_stack([cosines, _share(found, float(times.sum()))])


def best_accuracy(scores: Floats, same: NDArray[np.bool_], folds: int = 10) -> Interval:
    """LFW's protocol: in each fold, the accuracy at the threshold that is best on the other folds."""
    order = np.random.default_rng(4).permutation(len(scores))
    parts = np.array_split(order, folds)
    results = []
    for part in parts:
        others = np.setdiff1d(order, part)
        candidates = np.unique(scores[others])
        hits = [np.mean((scores[others] >= threshold) == same[others]) for threshold in candidates]
        threshold = candidates[int(np.argmax(hits))]
        results.append(np.mean((scores[part] >= threshold) == same[part]))
    mean, error = float(np.mean(results)), float(np.std(results, ddof=1) / np.sqrt(folds))
    return Interval(mean, mean - 1.96 * error, mean + 1.96 * error)
