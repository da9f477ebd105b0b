"""The largest face alone: found with little work where it is plain which that is, otherwise as ever."""

import cv2
import numpy as np
import pytest

from app.domain import Embed, Face, Look, Pixels, QualityLevel, WholePicture
from app.engine.detector import Detector
from app.images.decode import decode
from app.measure.engine import LIMITS, LocalEngine
from tests import photos


def portrait(margin: float, width: int) -> Pixels:
    """A photo of one person, with so many sides of the face around it."""
    left, top, side = 170, 60, 110  # the astronaut's face
    around = int(margin * side)
    whole = decode(photos.astronaut(), LIMITS)
    part = whole[max(0, top - around) : top + side + around, max(0, left - around) : left + side + around]
    scale = width / part.shape[1]
    return np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)


def largest(engine: LocalEngine, image: Pixels, *, alone: bool = True) -> Face:
    face, *_ = engine.pipeline.analyse(WholePicture(image), Look(Embed.LARGEST, 100, alone=alone))
    return face


def confirm_same(one: Face, other: Face, least: float) -> None:
    assert one.box.iou(other.box) > 0.8
    assert one.embedding is not None
    assert other.embedding is not None
    assert float(one.embedding @ other.embedding) > least


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pixels of the pictures that a network looks at from now on."""
    areas: list[int] = []
    run = Detector.run

    def counting(self: Detector, canvas: Pixels, *rest: object) -> object:
        areas.append(canvas.shape[0] * canvas.shape[1])
        return run(self, canvas, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Detector, "run", counting)
    return areas


@pytest.mark.parametrize("width", [640, 1400, 3000])
@pytest.mark.parametrize("margin", [0.2, 0.6, 1.0])
def test_one_person_is_the_same_face_for_less_than_half_of_the_work(
    engine: LocalEngine, seen: list[int], margin: float, width: int
) -> None:
    image = portrait(margin, width)
    ever = largest(engine, image, alone=False)
    every = sum(seen)
    seen.clear()
    confirm_same(largest(engine, image), ever, 0.95)
    assert sum(seen) < 0.5 * every


def test_of_several_who_are_as_large_it_is_the_same_as_ever(engine: LocalEngine) -> None:
    group = decode(photos.group(), LIMITS)
    confirm_same(largest(engine, group), largest(engine, group, alone=False), 0.9999)


def test_one_of_several_needs_no_finer_look_at_the_others(engine: LocalEngine, seen: list[int]) -> None:
    group = decode(photos.group(), LIMITS)
    scene = np.full((1400, 2100, 3), 127, np.uint8)
    scene[:1000, :1500] = cv2.resize(group, (1500, 1000))
    scene[1050:1250, :300] = cv2.resize(group, (300, 200))  # small faces, which call for a finer pass
    ever = largest(engine, scene, alone=False)
    passes = len(seen)
    seen.clear()
    confirm_same(largest(engine, scene), ever, 0.9999)
    assert passes == 3
    assert len(seen) == 2, "the tiny pass and the coarse one, each once"


@pytest.mark.parametrize("turn", [cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE])
def test_a_turned_selfie_is_turned_back_as_ever(engine: LocalEngine, turn: int) -> None:
    turned = np.asarray(cv2.rotate(portrait(0.6, 900), turn), np.uint8)
    confirm_same(largest(engine, turned), largest(engine, turned, alone=False), 0.9999)


def test_who_fills_the_frame_is_found_beside_a_bystander(engine: LocalEngine) -> None:
    selfie, bystander = portrait(0.0, 1400), portrait(0.4, 160)
    scene = np.full((max(selfie.shape[0], 400), 1600, 3), 90, np.uint8)
    scene[: selfie.shape[0], :1400] = selfie
    scene[40 : 40 + bystander.shape[0], 1430:1590] = bystander
    assert largest(engine, scene).box.width > 0.5


def test_a_face_that_is_refused_leaves_others_a_chance(engine: LocalEngine) -> None:
    """Quality counts, so all faces are looked for."""
    large = cv2.GaussianBlur(portrait(0.6, 900), (0, 0), 25)
    small = portrait(0.6, 300)
    scene = np.full((large.shape[0], 1240, 3), 127, np.uint8)
    scene[:, :900] = large
    scene[100 : 100 + small.shape[0], 920:1220] = small
    look = Look(Embed.LARGEST, 100, QualityLevel.MEDIUM, alone=True)
    found = engine.pipeline.analyse(WholePicture(scene), look)
    assert [face.box.left > 0.7 for face in found if face.embedding is not None] == [True]


def test_small_photos_and_networks_whose_points_move_are_looked_at_as_ever(
    each_engine: LocalEngine, seen: list[int]
) -> None:
    image = portrait(0.6, 900 if each_engine.pipeline.pack.name == "opencv" else 500)
    largest(each_engine, image, alone=False)
    ever = seen.copy()
    seen.clear()
    largest(each_engine, image)
    assert seen == ever


def test_a_small_photo_of_a_sure_face_takes_one_look_and_a_doubted_one_the_tiny_pass_too(
    engine: LocalEngine, seen: list[int]
) -> None:
    sure = portrait(0.6, 250)
    largest(engine, sure)
    assert len(seen) == 1
    seen.clear()
    assert largest(engine, np.asarray(cv2.GaussianBlur(sure, (0, 0), 9), np.uint8)).confidence < 99.9
    assert seen[1] < 0.3 * seen[0]
