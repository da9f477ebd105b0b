"""What each level of the QualityFilter removes: LFW faces that were made worse on purpose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Detail, Embed, Face, Look, Pixels, QualityLevel, WholePicture
from app.engine.quality import reasons_against
from app.images.decode import decode
from app.measure.datasets import LabelledPhoto
from app.measure.engine import LIMITS, MAX_FACES, LocalEngine, central

_LEVELS = (QualityLevel.LOW, QualityLevel.MEDIUM, QualityLevel.HIGH)
READ_NOISE = 2.0  # standard deviation of what a camera adds in the dark, of 255

Draw = np.random.Generator
Change = Callable[[Pixels, Draw], Pixels]


def _blurred(sigma: float) -> Change:
    return lambda image, _: np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def noisy(image: Pixels, draw: Draw, sigma: float = READ_NOISE) -> Pixels:
    """A picture with normal noise of a standard deviation."""
    return np.clip(image + draw.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def _noisy(sigma: float) -> Change:
    return lambda image, draw: noisy(image, draw, sigma)


def _dark(gain: float) -> Change:
    return lambda image, draw: noisy((image * gain).astype(np.uint8), draw)


def _small(factor: int) -> Change:
    return lambda image, _: np.asarray(
        cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA), np.uint8
    )


CHANGES: dict[str, Change] = {
    "none": lambda image, _: image,
    **{f"blur {sigma} px": _blurred(sigma) for sigma in (1, 2, 3, 4, 6)},
    **{f"noise {sigma}": _noisy(sigma) for sigma in (10, 25, 50, 80)},
    **{f"light x {gain}": _dark(gain) for gain in (0.4, 0.2, 0.1, 0.05)},
    **{f"size / {factor}": _small(factor) for factor in (2, 3, 4, 5, 7)},
}


@dataclass(frozen=True, slots=True)
class Probe:
    """A changed face: its cosine with an unchanged photo of the same person."""

    change: str
    face: Face
    cosine: float


@dataclass(frozen=True, slots=True)
class Group:
    """Faces, and the share of them that the threshold misses."""

    faces: int
    missed: float


@dataclass(frozen=True, slots=True)
class LevelReport:
    """What a level removes of all faces, what it keeps, what it removes beyond the level before it."""

    level: str
    removed: Group
    kept: Group
    newly_removed: Group
    by_reason: dict[str, Group]


def probes(engine: LocalEngine, photos: Sequence[LabelledPhoto]) -> tuple[list[Probe], int]:
    """Change the second photo of everybody who has two, and compare it with the first.

    Returns:
        The faces, and in how many changed photos none was found.
    """
    people: dict[str, list[LabelledPhoto]] = {}
    for photo in photos:
        people.setdefault(photo.person, []).append(photo)
    pairs = [taken[:2] for taken in people.values() if len(taken) > 1]

    def one(number: int) -> list[Probe | None]:
        reference, changed = (decode(photo.path.read_bytes(), LIMITS) for photo in pairs[number])
        draw = np.random.default_rng(number)
        owner = _face(engine, reference)
        if owner is None:
            return []
        return [_probe(engine, owner, name, change(changed, draw)) for name, change in CHANGES.items()]

    found = [probe for some in engine.map(one, range(len(pairs))) for probe in some]
    return [probe for probe in found if probe is not None], sum(probe is None for probe in found)


def _probe(engine: LocalEngine, owner: Face, change: str, image: Pixels) -> Probe | None:
    face = _face(engine, image)
    if face is None or face.embedding is None or owner.embedding is None:
        return None
    return Probe(change, face, float(face.embedding @ owner.embedding))


def _face(engine: LocalEngine, image: Pixels) -> Face | None:
    look = Look(Embed.ALL, MAX_FACES, detail=Detail.POINTS)
    return central(engine.pipeline.analyse(WholePicture(image), look))


def levels(found: Sequence[Probe], least_cosine: float) -> list[LevelReport]:
    """What each level does to faces, of which those under `least_cosine` are missed."""
    missed = np.array([probe.cosine < least_cosine for probe in found])
    before = np.zeros(len(found), dtype=bool)
    reports = []
    for level in _LEVELS:
        reasons = [reasons_against(probe.face, level) for probe in found]
        fails = np.array([bool(some) for some in reasons])
        names = dict.fromkeys(reason for some in reasons for reason in some)
        reports.append(
            LevelReport(
                level.value,
                _group(missed, fails),
                _group(missed, ~fails),
                _group(missed, fails & ~before),
                {name: _group(missed, np.array([name in some for some in reasons])) for name in names},
            )
        )
        before = fails
    return reports


def by_change(found: Sequence[Probe], least_cosine: float) -> dict[str, Group]:
    """The misses of each kind of change."""
    missed = np.array([probe.cosine < least_cosine for probe in found])
    return {
        change: _group(missed, np.array([probe.change == change for probe in found])) for change in CHANGES
    }


def _group(missed: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Group:
    return Group(int(chosen.sum()), float(missed[chosen].mean()) if chosen.any() else 0.0)
