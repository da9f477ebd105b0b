"""Second tries: turned, dark and cut faces are found, and a picture with a sure face costs nothing more."""

from typing import Any

import cv2
import numpy as np
import pytest

from app.domain import Detail, Embed, Face, Look, Pixels, WholePicture
from app.engine.detector import Detection, Detector
from app.engine.scrfd import Scrfd
from app.engine.second_tries import Kind, SecondTries
from app.images.decode import decode
from app.measure.engine import LIMITS, LocalEngine
from tests import photos

TURNS = (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)


def face_crop() -> Pixels:
    """A selfie: the head and shoulders of the portrait."""
    return np.ascontiguousarray(decode(photos.astronaut(), LIMITS)[0:260, 120:340])


def largest(engine: LocalEngine, image: Pixels) -> Face:
    face, *_ = engine.pipeline.analyse(WholePicture(image), Look(Embed.LARGEST, 10, detail=Detail.POINTS))
    return face


def likeness(one: Face, other: Face) -> float:
    assert one.embedding is not None
    assert other.embedding is not None
    return float(one.embedding @ other.embedding)


def counted(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes of the pictures that the detector is given from now on."""
    seen: list[tuple[int, ...]] = []
    first = engine.pipeline.detector.first
    detect = first.detect

    def counting(image: Pixels, **told: Any) -> object:
        seen.append(image.shape)
        return detect(image, **told)

    monkeypatch.setattr(first, "detect", counting)
    return seen


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_selfie_is_the_same_person_in_the_right_place(engine: LocalEngine, turn: int) -> None:
    upright = largest(engine, face_crop())
    turned = largest(engine, np.asarray(cv2.rotate(face_crop(), turn), np.uint8))
    assert likeness(upright, turned) > 0.9
    height, width = face_crop().shape[:2]
    x, y = upright.box.left + upright.box.width / 2, upright.box.top + upright.box.height / 2
    expected = {
        cv2.ROTATE_90_CLOCKWISE: (1 - y, x),
        cv2.ROTATE_180: (1 - x, 1 - y),
        cv2.ROTATE_90_COUNTERCLOCKWISE: (y, 1 - x),
    }[turn]
    found = turned.box
    assert found.left + found.width / 2 == pytest.approx(expected[0], abs=12 / min(width, height))
    assert found.top + found.height / 2 == pytest.approx(expected[1], abs=12 / min(width, height))


@pytest.mark.parametrize("gain", [0.05, 0.03])
def test_a_dark_selfie_is_found(engine: LocalEngine, gain: float) -> None:
    noise = np.random.default_rng(1).normal(0, 1, face_crop().shape)
    dark = np.clip(face_crop() * gain + noise, 0, 255).astype(np.uint8)
    assert likeness(largest(engine, face_crop()), largest(engine, dark)) > 0.2792  # Similarity 80


def test_a_backlit_selfie_is_found_and_its_brightness_is_that_of_the_photo(engine: LocalEngine) -> None:
    selfie = face_crop()
    height, width = selfie.shape[:2]
    shape = np.zeros((height, width), np.uint8)
    cv2.ellipse(shape, (width // 2, height // 2), (80, 120), 0, 0, 360, (1,), -1)
    person = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 3)[..., None]
    backlit = (person * 0.02 * selfie + (1 - person) * (150 + selfie // 3)).astype(np.uint8)
    assert engine.pipeline.detector.detect(backlit).by is Kind.BRIGHTER
    face = largest(engine, backlit)
    assert likeness(largest(engine, selfie), face) > 0.2792  # Similarity 80
    assert face.quality is not None
    assert face.quality.brightness < 10


def test_points_of_an_upside_down_face_are_those_of_the_upright_one(engine: LocalEngine) -> None:
    height, width = face_crop().shape[:2]
    upright = largest(engine, face_crop())
    turned = largest(engine, np.asarray(cv2.rotate(face_crop(), cv2.ROTATE_180), np.uint8))
    for point, other in zip(upright.landmarks, turned.landmarks, strict=True):
        assert other.type == point.type
        assert (1 - other.x) * width == pytest.approx(point.x * width, abs=6)
        assert (1 - other.y) * height == pytest.approx(point.y * height, abs=6)
    assert abs(turned.pose.roll) == pytest.approx(180, abs=12)


def test_a_face_within_the_grey_border_lies_outside_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    corners = (0.0, 48.0, 96.0, 208.0)  # a canvas of 416 x 336 for an image of 1280 x 960 shown at 320 x 240
    points = np.array([[47.5, 47.5], [79.5, 47.5], [47.5, 79.5], [47.5, 111.5], [79.5, 111.5]], np.float32)
    answers = [[], [], [Detection(corners, 0.7, points)]]
    detector = Detector.__new__(Detector)
    detector.scores = Scrfd.scores
    monkeypatch.setattr(detector, "detect", lambda _, **__: answers.pop(0))
    found = SecondTries(detector).detect(np.full((960, 1280, 3), 200, np.uint8))
    assert found.by is Kind.PADDED
    (face,) = found.detections
    assert face.corners == pytest.approx((-190.5, 1.5, 193.5, 641.5))
    assert face.points.ravel().tolist() == pytest.approx((4 * (points - 47.5) - 0.5).ravel().tolist())


def test_a_doubted_face_that_the_turned_picture_does_not_show_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.zeros((5, 2), np.float32)
    lying, upright = (
        Detection(corners, 0.7, points) for corners in ((100.0, 0.0, 130.0, 40.0), (0.0, 0.0, 30.0, 40.0))
    )
    surer = Detection((120.0, 100.0, 160.0, 130.0), 0.9, points)  # the lying one, in the copy turned by 90
    answers = [[lying, upright], [surer]]
    detector = Detector.__new__(Detector)
    detector.scores = Scrfd.scores
    monkeypatch.setattr(detector, "detect", lambda _, **__: answers.pop(0))
    found = SecondTries(detector).detect(np.full((160, 160, 3), 200, np.uint8))
    assert found.by is Kind.TURNED
    assert [face.score for face in found.detections] == [0.9, 0.7]
    assert found.detections[0].corners == pytest.approx((100, -1, 130, 39))
    assert found.detections[1] is upright


def test_a_picture_with_a_sure_face_costs_one_look(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counted(engine, monkeypatch)
    engine.pipeline.analyse(WholePicture(decode(photos.group(), LIMITS)), Look(Embed.NONE, 10))
    assert len(seen) == 1
    # A doubted one costs a look at small turned copies.
    found = engine.pipeline.detector.detect(decode(photos.astronaut(), LIMITS))
    assert found.by is None
    assert [max(size[:2]) <= 640 for size in seen[2:]] == [True]


@pytest.mark.parametrize("level", [5, 60, 127, 250])
def test_a_picture_without_a_face_stays_without_one_and_costs_a_try_of_each_kind(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    seen = counted(engine, monkeypatch)
    texture = np.random.default_rng(level).normal(level, 20, (3000, 4000, 3)).clip(0, 255).astype(np.uint8)
    gradient = np.dstack([np.tile(np.linspace(0, level, 900), (700, 1))] * 3).astype(np.uint8)
    for image in (texture, gradient, decode(photos.without_face(), LIMITS)):
        seen.clear()
        assert engine.pipeline.analyse(WholePicture(image), Look(Embed.ALL, 10)) == ()
        assert 2 <= len(seen) <= 1 + len(Kind)
        assert all(max(size[:2]) <= 640 for size in seen[1:])
