"""Photos as phones take them: turned, dark, backlit, with a face that fills or leaves the frame.

How many faces the first try finds, how many a second one, and whether they are still matched; what second
tries find where no face is, and what they cost there.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Embed, Look, Pixels, WholePicture
from app.engine.second_tries import is_dark
from app.images.decode import decode
from app.measure.datasets import AnnotatedPhoto, LabelledPhoto
from app.measure.degraded import noisy
from app.measure.engine import LIMITS, MAX_FACES, LocalEngine, central

_PHOTOS = 300
_CROP_SIDE = 640  # crops are enlarged to this, as a phone would have taken them
_FACELESS_A_PHOTO = 2
_GENERATED = 100
_DARK = 0.04
_SIZES = ((1024, 768), (4000, 3000))
_REPEATS = 9

Draw = np.random.Generator
Corners = tuple[float, float, float, float]
Change = Callable[[Pixels, Corners, Draw], Pixels]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Photos with one change, those in which a face was found, and those that match their clean photo.

    `second` counts what second tries found, by their kind, and `righted` those in which the first try had
    found a face, less surely.
    """

    change: str
    photos: int
    first: int
    first_matching: int
    second: dict[str, int]
    second_matching: int


@dataclass(frozen=True, slots=True)
class FalseFinds:
    """Faceless pictures, and those in which a face was found nevertheless."""

    pictures: str
    number: int
    first: int
    second: dict[str, int]


@dataclass(frozen=True, slots=True)
class Cost:
    """Time to find no face in a picture, over that of the first try alone."""

    picture: str
    ratio: float


@dataclass(frozen=True, slots=True)
class _Probe:
    """`by` is "first", a kind of second try, "righted", or empty where no face was found."""

    change: str
    by: str
    cosine: float


def outcomes(engine: LocalEngine, photos: Sequence[LabelledPhoto], least_cosine: float) -> list[Outcome]:
    """Change the first photos of some 300 people and compare them with the same photos unchanged."""
    firsts = list({photo.person: photo for photo in reversed(photos)}.values())
    chosen = firsts[:: max(1, len(firsts) // _PHOTOS)][:_PHOTOS]
    found = [
        probe
        for some in engine.map(lambda number: _probes(engine, chosen[number], number), range(len(chosen)))
        for probe in some
    ]
    return [
        _outcome(change, [probe for probe in found if probe.change == change], least_cosine)
        for change in CHANGES | CROPS
    ]


def _outcome(change: str, probes: Sequence[_Probe], least_cosine: float) -> Outcome:
    first = [probe for probe in probes if probe.by == "first"]
    second = [probe for probe in probes if probe.by not in ("", "first")]
    return Outcome(
        change,
        len(probes),
        len(first),
        sum(probe.cosine >= least_cosine for probe in first),
        _counted([probe.by for probe in second]),
        sum(probe.cosine >= least_cosine for probe in second),
    )


def _probes(engine: LocalEngine, photo: LabelledPhoto, number: int) -> list[_Probe]:
    image = decode(photo.path.read_bytes(), LIMITS)
    look = Look(Embed.ALL, MAX_FACES)
    owner = central(engine.pipeline.analyse(WholePicture(image), look))
    if owner is None or owner.embedding is None:
        return []
    height, width = image.shape[:2]
    box = owner.box
    left, top = box.left * width, box.top * height
    corners = (left, top, left + box.width * width, top + box.height * height)
    draw = np.random.default_rng(number)
    probes = []
    for name, change in (CHANGES | CROPS if number % 4 == 0 else CHANGES).items():
        changed = change(image, corners, draw)
        by = _found_by(engine, changed)
        face = central(engine.pipeline.analyse(WholePicture(changed), look)) if by else None
        cosine = -1.0
        if face is not None and face.embedding is not None:
            cosine = float(face.embedding @ owner.embedding)
        probes.append(_Probe(name, by, cosine))
    return probes


def _found_by(engine: LocalEngine, image: Pixels) -> str:
    found = engine.pipeline.detector.detect(image)
    if not found.detections:
        return ""
    if found.by is None:
        return "first"
    return "righted" if engine.pipeline.detector.first.detect(image) else found.by.value


def _counted(kinds: Sequence[str]) -> dict[str, int]:
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def false_finds(engine: LocalEngine, photos: Sequence[AnnotatedPhoto]) -> list[FalseFinds]:
    """Look for faces in parts of photos that hold none, and in generated pictures; as they are and dark."""
    backgrounds = [part for photo in photos for part in _backgrounds(photo)]
    sources = {"backgrounds": backgrounds, "generated": [_generated(number) for number in range(_GENERATED)]}
    reports = []
    for name, pictures in sources.items():
        for gain in (1, _DARK):
            dimmed = [(picture * gain).astype(np.uint8) for picture in pictures]
            seen = engine.map(lambda picture: _found_by(engine, picture), dimmed)
            second = [by for by in seen if by not in ("", "first")]
            reports.append(
                FalseFinds(f"{name} x {gain}", len(pictures), seen.count("first"), _counted(second))
            )
    return reports


def _backgrounds(photo: AnnotatedPhoto) -> Iterator[Pixels]:
    """Squares that stay away from every annotated face, counted or not, by a third of its size."""
    image = decode(photo.path.read_bytes(), LIMITS)
    height, width = image.shape[:2]
    reach = photo.boxes[:, 2:].max(axis=1, keepdims=True) / 3
    low, high = photo.boxes[:, :2] - reach, photo.boxes[:, :2] + photo.boxes[:, 2:] + reach
    draw = np.random.default_rng(height * width + len(photo.boxes))
    taken = 0
    for _ in range(60):
        side = int(min(draw.integers(160, 500), height, width))
        corner = draw.integers(0, [width - side + 1, height - side + 1])
        if not ((low < corner + side) & (high > corner)).all(axis=1).any():
            yield np.ascontiguousarray(image[corner[1] : corner[1] + side, corner[0] : corner[0] + side])
            taken += 1
        if taken == _FACELESS_A_PHOTO:
            return


def _generated(number: int) -> Pixels:
    """Noise, clouds, a gradient, or ellipses."""
    draw = np.random.default_rng(number)
    height, width = draw.integers(200, 700, 2).tolist()
    kind = number % 4
    if kind == 0:
        return draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == 1:
        clouds = cv2.GaussianBlur(draw.normal(0, 1, (height, width, 3)), (0, 0), draw.uniform(1, 30))
        return np.asarray(np.clip(128 + 50 * clouds / clouds.std(), 0, 255), np.uint8)
    if kind == 2:
        down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        return np.stack([255 * across, 255 * down, 128 * (across + down)], axis=2).astype(np.uint8)
    picture = np.full((height, width, 3), draw.integers(0, 256), np.uint8)
    for _ in range(30):
        middle, axes = draw.integers(0, [width, height]).tolist(), draw.integers(5, 120, 2).tolist()
        colour = draw.integers(0, 256, 3).tolist()
        cv2.ellipse(picture, middle, axes, draw.uniform(0, 360), 0, 360, colour, int(draw.choice([-1, 3])))
    return picture


def costs(engine: LocalEngine, photos: Sequence[AnnotatedPhoto]) -> list[Cost]:
    """What a faceless picture costs, as it is and dark: the median of ratios in turn, in one thread."""
    detector = engine.pipeline.detector
    parts = (_resized(part, *_SIZES[0]) for photo in photos for part in _backgrounds(photo))
    faceless = next(part for part in parts if not is_dark(part) and not detector.detect(part).detections)
    found = []
    for width, height in _SIZES:
        for gain in (1, _DARK):
            picture = (_resized(faceless, width, height) * gain).astype(np.uint8)
            ratios = []
            for _ in range(_REPEATS):
                began = time.perf_counter()
                detector.first.detect(picture)
                between = time.perf_counter()
                detector.detect(picture)
                ratios.append((time.perf_counter() - between) / (between - began))
            found.append(Cost(f"{width} x {height}, light x {gain}", float(np.median(ratios))))
    return found


def _turned(turn: int) -> Change:
    return lambda image, _, __: np.asarray(cv2.rotate(image, turn), np.uint8)


def _dark(gain: float) -> Change:
    return lambda image, _, draw: noisy((image * gain).astype(np.uint8), draw)


def _backlit(gain: float) -> Change:
    """The head and what is below it dark, what is behind it bright."""

    def change(image: Pixels, corners: Corners, draw: Draw) -> Pixels:
        left, top, right, bottom = corners
        middle = round((left + right) / 2), round((top + bottom) / 2)
        across, down = right - left, bottom - top
        shape = np.zeros(image.shape[:2], np.uint8)
        cv2.ellipse(shape, middle, (round(0.75 * across), round(0.75 * down)), 0, 0, 360, 1, -1)
        shoulders = round(middle[0] - 1.3 * across), round(bottom + 0.1 * down)
        cv2.rectangle(shape, shoulders, (round(middle[0] + 1.3 * across), image.shape[0]), 1, -1)
        person = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 3)[..., None]
        mixed = person * gain * image + (1 - person) * (0.5 * image + 150)
        return noisy(np.clip(mixed, 0, 255).astype(np.uint8), draw)

    return change


def _cut(share: float) -> Change:
    """The frame cuts this share of the face's box on one side or at the top; a half of it lies around."""

    def change(image: Pixels, corners: Corners, draw: Draw) -> Pixels:
        margins = np.full(4, -0.5)
        margins[draw.integers(0, 3)] = share
        return _cropped(image, corners, margins)

    return change


def _tight(factor: float) -> Change:
    """The frame is this many times the face's box."""
    return lambda image, corners, _: _cropped(image, corners, np.full(4, (1 - factor) / 2))


def _half(image: Pixels, corners: Corners, draw: Draw) -> Pixels:
    """Half of the face's box, cut at a side or the top, and nothing else."""
    margins = np.zeros(4)
    margins[draw.integers(0, 3)] = 0.5
    return _cropped(image, corners, margins)


def _cropped(image: Pixels, corners: Corners, margins: NDArray[np.float64]) -> Pixels:
    """The box less its margins (left, top, right, bottom, as shares of it), enlarged."""
    left, top, right, bottom = corners
    across, down = right - left, bottom - top
    low = max(0, round(top + margins[1] * down)), max(0, round(left + margins[0] * across))
    crop = image[low[0] : round(bottom - margins[3] * down), low[1] : round(right - margins[2] * across)]
    scale = _CROP_SIDE / max(crop.shape)
    return _resized(crop, round(scale * crop.shape[1]), round(scale * crop.shape[0]))


def _resized(image: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


CHANGES: dict[str, Change] = {
    "none": lambda image, _, __: image,
    "turned by 90": _turned(cv2.ROTATE_90_CLOCKWISE),
    "turned by 180": _turned(cv2.ROTATE_180),
    "turned by 270": _turned(cv2.ROTATE_90_COUNTERCLOCKWISE),
    **{f"light x {gain}": _dark(gain) for gain in (0.05, 0.025)},
    **{f"backlit, face x {gain}": _backlit(gain) for gain in (0.05, 0.025)},
}
# These are for one photo in four: they are larger.
CROPS: dict[str, Change] = {
    **{f"{100 * share:.0f} % cut off": _cut(share) for share in (0.2, 0.4)},
    "half a face": _half,
    **{f"frame {factor} x face": _tight(factor) for factor in (0.7, 1.2)},
}
