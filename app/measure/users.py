"""Which rule finds a user of several faces best.

*mean*: the mean of the faces; *weighted*: their mean weighted by strength; *best*: the best of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.measure.verification import BOOTSTRAPS, Floats, Interval

FACES_A_USER = (1, 2, 3, 5)
DRAWS = 3
PROBES_A_USER = 20


@dataclass(frozen=True, slots=True)
class UserPoint:
    """True-match rate at a false-match rate, both of whole users against single photos.

    `fmr_at_single` is the false-match rate at the cosine that has `fmr` between single photos.
    """

    faces: int
    rule: str
    users: int
    fmr: float
    cosine: float
    tar: Interval
    fmr_at_single: float


def user_points(
    vectors: NDArray[np.float32],
    strengths: NDArray[np.float32],
    people: NDArray[np.intp],
    single: dict[float, float],
) -> list[UserPoint]:
    """Compare users, made of some photos of a person, with the other photos of everybody.

    Args:
        vectors: (n, d), unit length.
        strengths: (n,), how long the network made each vector.
        people: (n,), a number for each person.
        single: false-match rates and the cosines that have them between single photos.
    """
    points = []
    for faces in FACES_A_USER:
        scores = _scores(vectors, strengths, people, faces)
        for rule, (genuine, owners, impostor) in scores.items():
            for rate, cosine_of_single in single.items():
                place = int(len(impostor) * rate)
                cosine = float(np.partition(impostor, -place)[-place])
                points.append(
                    UserPoint(
                        faces,
                        rule,
                        len(np.unique(owners)),
                        rate,
                        cosine,
                        _share(genuine >= cosine, owners),
                        float(np.mean(impostor >= cosine_of_single)),
                    )
                )
    return points


def _scores(
    vectors: NDArray[np.float32], strengths: NDArray[np.float32], people: NDArray[np.intp], faces: int
) -> dict[str, tuple[Floats, NDArray[np.intp], Floats]]:
    """For each rule: genuine scores, whose they are, and impostor scores; users drawn several times."""
    draw = np.random.default_rng(6)
    owners = [person for person in range(people.max() + 1) if (people == person).sum() > faces]
    kept: dict[str, list[tuple[Floats, NDArray[np.intp], Floats]]] = {
        "mean": [],
        "weighted": [],
        "best": [],
    }
    for _ in range(DRAWS):
        photos = [draw.permutation(np.flatnonzero(people == person)) for person in owners]
        taken = np.stack([chosen[:faces] for chosen in photos])
        enrolled = vectors[taken]
        mean = _unit(enrolled.mean(axis=1))
        weighted = _unit((enrolled * strengths[taken][..., None]).mean(axis=1))
        best = np.max([enrolled[:, rank] @ vectors.T for rank in range(faces)], axis=0)
        other = people[None, :] != np.array(owners)[:, None]
        probes = np.zeros_like(other)
        for row, chosen in enumerate(photos):
            probes[row, chosen[faces : faces + PROBES_A_USER]] = True
        whose = np.nonzero(probes)[0]
        rules = {"mean": mean @ vectors.T, "weighted": weighted @ vectors.T, "best": best}
        for rule, scores in rules.items():
            kept[rule].append((scores[probes], whose, scores[other]))
    return {
        rule: (
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([part[2] for part in parts]),
        )
        for rule, parts in kept.items()
    }


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _share(hits: NDArray[np.bool_], owners: NDArray[np.intp]) -> Interval:
    """The share of hits, with a 95 % interval from resampling users."""
    found = np.bincount(owners, hits)
    tried = np.bincount(owners).astype(float)
    draw = np.random.default_rng(7)
    picks = draw.integers(0, len(tried), (BOOTSTRAPS, len(tried)))
    shares = found[picks].sum(axis=1) / tried[picks].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return Interval(float(hits.mean()), float(low), float(high))
