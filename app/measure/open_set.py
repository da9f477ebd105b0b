"""Identification of people of whom some are members and some are strangers, at several thresholds.

As in the service, a member is the normalised mean of their faces, and the answer to a probe is the member of
the highest cosine, if that is at or above the threshold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engine.similarity import SimilarityCurve
from app.measure.verification import BOOTSTRAPS, Floats, Interval

MEMBERS = (100, 1_000, 2_000)
FACES_A_MEMBER = (1, 5)
TARGETS = (0.01, 0.001)
FIXED_COSINE = 0.35
DRAWS = 20

People = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class OpenSetPoint:
    """Error rates of one rule for the threshold, summed over galleries drawn anew.

    `most_faces` is the limit of faces a member, `faces` their mean. FNIR is the share of the probes of
    members that bring no answer (`missed`) or another member (`wrong`), FPIR that of the probes of strangers
    that bring an answer (`false_hits`). `*_people` are how many different people are behind these probes;
    `false_hit_people` are the strangers among them who were ever taken for a member.
    """

    members: int
    most_faces: int
    faces: float
    rule: str
    cosine: float
    mated: int
    mated_people: int
    missed: int
    wrong: int
    fnir: Interval
    strangers: int
    stranger_people: int
    false_hits: int
    false_hit_people: int
    fpir: Interval


@dataclass(frozen=True, slots=True)
class _Searches:
    """Of each probe: the best cosine, the number of that member's and its own person, and its gallery."""

    cosines: Floats
    answers: People
    people: People
    galleries: People


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Searches in several galleries: `members` (galleries, members) are the numbers of their people."""

    members: People
    faces: float
    mated: _Searches
    strangers: _Searches


def rules(curve: SimilarityCurve) -> dict[str, Callable[[int], float]]:
    """The threshold of each rule for a number of members."""

    def auto(target: float) -> Callable[[int], float]:
        return lambda members: curve.cosine_for_fpir(members, target)

    fixed: dict[str, Callable[[int], float]] = {f"fixed {FIXED_COSINE}": lambda _: FIXED_COSINE}
    return fixed | {f"auto {target}": auto(target) for target in TARGETS}


def open_set_points(
    vectors: NDArray[np.float32],
    people: People,
    thresholds: Mapping[str, Callable[[int], float]],
    *,
    sizes: Sequence[int] = MEMBERS,
    draws: int = DRAWS,
) -> list[OpenSetPoint]:
    """Error rates at each size that leaves strangers, for members of one face and of several.

    Args:
        vectors: (n, d), unit length.
        people: (n,), a number for each person, from 0 without gaps.
        thresholds: the rules that `rules` makes.
        sizes: how many members the galleries have.
        draws: how many galleries of each kind.
    """
    photos = [np.flatnonzero(people == person) for person in range(int(people.max()) + 1)]
    points = []
    for most_faces in FACES_A_MEMBER:
        for size in sizes:
            if size < len(photos):
                drawn = _search(vectors, photos, size, most_faces, draws)
                points += [
                    _point(drawn, len(photos), most_faces, rule, threshold(size))
                    for rule, threshold in thresholds.items()
                ]
    return points


def _search(
    vectors: NDArray[np.float32], photos: Sequence[People], size: int, most_faces: int, draws: int
) -> _Drawn:
    """Search `draws` galleries.

    Members are those people first who leave a probe beside the most faces, then those of one photo, in
    random order. Everybody else is a stranger with one photo.
    """
    draw = np.random.default_rng(8)
    spare = np.array([min(len(own) - 1, most_faces) for own in photos])
    members, faces, mated, strangers = [], [], [], []
    for gallery in range(draws):
        shuffled = [draw.permutation(own) for own in photos]
        order = draw.permutation(len(photos))
        order = order[np.argsort(-spare[order], kind="stable")]
        inside, outside = order[:size], order[size:]
        enrolled = np.maximum(spare[inside], 1)
        means = np.stack(
            [vectors[shuffled[who][:count]].mean(axis=0) for who, count in zip(inside, enrolled, strict=True)]
        )
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        owners = inside[spare[inside] > 0]
        own_probes = vectors[[shuffled[who][spare[who]] for who in owners]]
        mated.append(_best(own_probes, owners, means, inside, gallery))
        strangers.append(
            _best(vectors[[shuffled[who][0] for who in outside]], outside, means, inside, gallery)
        )
        members.append(inside)
        faces.append(enrolled.mean())
    return _Drawn(np.stack(members), float(np.mean(faces)), _joined(mated), _joined(strangers))


def _best(
    probes: NDArray[np.float32], people: People, means: NDArray[np.float32], members: People, gallery: int
) -> _Searches:
    cosines = probes @ means.T
    best = cosines.argmax(axis=1)
    return _Searches(
        cosines.max(axis=1).astype(np.float64), members[best], people, np.full(len(people), gallery)
    )


def _joined(parts: Sequence[_Searches]) -> _Searches:
    return _Searches(
        np.concatenate([part.cosines for part in parts]),
        np.concatenate([part.answers for part in parts]),
        np.concatenate([part.people for part in parts]),
        np.concatenate([part.galleries for part in parts]),
    )


def _point(drawn: _Drawn, people: int, most_faces: int, rule: str, cosine: float) -> OpenSetPoint:
    mated, strangers = drawn.mated, drawn.strangers
    answered = mated.cosines >= cosine
    wrong = answered & (mated.answers != mated.people)
    hits = strangers.cosines >= cosine
    fnir, fpir = _intervals(drawn, people, ~answered | wrong, hits)
    return OpenSetPoint(
        members=drawn.members.shape[1],
        most_faces=most_faces,
        faces=drawn.faces,
        rule=rule,
        cosine=cosine,
        mated=len(answered),
        mated_people=len(np.unique(mated.people)),
        missed=int((~answered).sum()),
        wrong=int(wrong.sum()),
        fnir=fnir,
        strangers=len(hits),
        stranger_people=len(np.unique(strangers.people)),
        false_hits=int(hits.sum()),
        false_hit_people=len(np.unique(strangers.people[hits])),
        fpir=fpir,
    )


def _intervals(
    drawn: _Drawn, people: int, failed: NDArray[np.bool_], hits: NDArray[np.bool_]
) -> tuple[Interval, Interval]:
    """FNIR and FPIR with 95 % intervals from resampling people.

    A false hit counts as often as both its stranger and its member were drawn.
    """
    draw = np.random.default_rng(9)
    mated, strangers = drawn.mated, drawn.strangers
    samples = []
    for _ in range(BOOTSTRAPS):
        times = np.bincount(draw.integers(0, people, people), minlength=people)
        of_mated = times[mated.people]
        of_strangers = times[strangers.people]
        compared = (of_strangers * times[drawn.members].mean(axis=1)[strangers.galleries]).sum()
        samples.append(
            (
                of_mated[failed].sum() / max(of_mated.sum(), 1),
                (of_strangers[hits] * times[strangers.answers[hits]]).sum() / max(compared, 1),
            )
        )
    low, high = np.quantile(np.array(samples), [0.025, 0.975], axis=0)
    return (
        _interval(failed, low[0], high[0], len(np.unique(mated.people))),
        _interval(hits, low[1], high[1], len(np.unique(strangers.people))),
    )


def _interval(errors: NDArray[np.bool_], low: float, high: float, people: int) -> Interval:
    """Without an error resampling knows no upper end: it is 3 over the number of people."""
    return Interval(float(errors.mean()), float(low), float(high) if errors.any() else 3 / people)
