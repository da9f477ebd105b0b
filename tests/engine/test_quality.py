"""Each reason of the QualityFilter from a picture that deserves it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from app.domain import Detail, Details, Embed, Face, Look, Pixels, Pose, QualityLevel, Sign, WholePicture
from app.engine.embedder import Embedder, Embedding
from app.engine.quality import flaws, reasons_against
from app.images.decode import decode
from app.measure.engine import LIMITS, LocalEngine
from tests import photos

LEVELS = (QualityLevel.NONE, QualityLevel.AUTO, QualityLevel.MEDIUM, QualityLevel.HIGH)


def portrait() -> Pixels:
    return decode(photos.astronaut(), LIMITS)


def blurred(image: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def dark(image: Pixels, gain: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, 2, image.shape)
    return np.clip(image * gain + noise, 0, 255).astype(np.uint8)


def noisy(image: Pixels, sigma: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def small(image: Pixels, width: int) -> Pixels:
    return np.asarray(cv2.resize(image, (width, width), interpolation=cv2.INTER_AREA), np.uint8)


def look_at(engine: LocalEngine, image: Pixels, level: QualityLevel) -> Face:
    face, *_ = engine.pipeline.analyse(WholePicture(image), Look(Embed.ALL, 10, level))
    return face


def test_a_good_face_passes_every_level(engine: LocalEngine) -> None:
    for level in LEVELS:
        face = look_at(engine, portrait(), level)
        assert face.reasons == ()
        assert face.embedding is not None
    assert flaws(look_at(engine, portrait(), QualityLevel.NONE)) <= 1


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (blurred(portrait(), 8), "LOW_SHARPNESS"),
        (dark(portrait(), 0.06), "LOW_BRIGHTNESS"),
        (small(portrait(), 100), "SMALL_BOUNDING_BOX"),
        (noisy(portrait(), 35), "LOW_FACE_QUALITY"),
    ],
    ids=["blur", "dark", "small", "noise"],
)
def test_a_face_that_was_made_worse_fails_for_that_reason(
    engine: LocalEngine, image: Pixels, reason: str
) -> None:
    face = look_at(engine, image, QualityLevel.HIGH)
    assert reason in face.reasons
    assert face.embedding is None
    unfiltered = look_at(engine, image, QualityLevel.NONE)
    assert unfiltered.reasons == ()
    assert unfiltered.embedding is not None
    assert flaws(unfiltered) >= 1


def test_a_turned_head_fails_for_its_pose(engine: LocalEngine) -> None:
    face = look_at(engine, portrait(), QualityLevel.HIGH)
    assert face.details is not None
    sign = Sign(True, 99.0)

    def turned(yaw: float, pitch: float) -> Face:
        details = Details((), Pose(0, yaw, pitch), sign, sign)
        return Face(face.box, 99.9, (), Pose(0, 0, 0), 200, face.quality, details)

    assert reasons_against(turned(-50, 0), QualityLevel.HIGH) == ("EXTREME_POSE",)
    assert reasons_against(turned(0, 40), QualityLevel.HIGH) == ("EXTREME_POSE",)
    assert reasons_against(turned(-50, 40), QualityLevel.LOW) == ()
    assert reasons_against(turned(80, 0), QualityLevel.AUTO) == ("EXTREME_POSE",)


def test_stricter_levels_fail_whatever_looser_ones_fail(engine: LocalEngine) -> None:
    for sigma in (2, 4, 6, 8):
        face = look_at(engine, blurred(portrait(), sigma), QualityLevel.NONE)
        failed = [bool(reasons_against(face, level)) for level in LEVELS]
        assert failed == sorted(failed)


def with_poor_faces() -> Pixels:
    """Six people; the left half is blurred, noise lies over the right end, which only an embedding shows."""
    image = decode(photos.group(), LIMITS)
    width = image.shape[1]
    left, right = width // 2, 4 * width // 5
    image[:, :left] = blurred(image, 6)[:, :left]
    image[:, right:] = noisy(image, 35)[:, right:]
    return image


@pytest.mark.parametrize("keep", range(8))
def test_of_more_faces_than_are_kept_the_best_are_embedded(engine: LocalEngine, keep: int) -> None:
    picture = WholePicture(with_poor_faces())
    look = Look(Embed.ALL, 10, QualityLevel.NONE, Detail.POINTS)
    everyone = engine.pipeline.analyse(picture, look)
    assert len({flaws(face) for face in everyone}) > 1
    assert any(flaws(replace(face, strength=None)) < flaws(face) for face in everyone)
    best = sorted(range(len(everyone)), key=lambda index: (flaws(everyone[index]), index))[:keep]
    found = engine.pipeline.analyse(picture, replace(look, keep=keep))
    assert [index for index, face in enumerate(found) if face.embedding is not None] == sorted(best)


@pytest.mark.parametrize(("keep", "expected"), [(1, [1]), (2, [1, 1]), (None, [6])])
def test_what_is_not_kept_is_not_embedded_and_all_are_at_once(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, keep: int | None, expected: list[int]
) -> None:
    embedded: list[int] = []
    embed_all = Embedder.embed_all

    def counted(embedder: Embedder, faces: Sequence[Any], **how: Any) -> list[Embedding]:
        embedded.append(len(faces))
        return embed_all(embedder, faces, **how)

    monkeypatch.setattr(Embedder, "embed_all", counted)
    before = stages(engine)
    look = Look(Embed.ALL, 10, QualityLevel.AUTO, keep=keep)
    assert len(engine.pipeline.analyse(WholePicture(decode(photos.group(), LIMITS)), look)) == 6
    assert embedded == expected
    # Faces are measured together, and embedded in as many stages as there were calls.
    assert stages(engine) == {"measure": before["measure"] + 1, "embed": before["embed"] + len(expected)}


def stages(engine: LocalEngine) -> dict[str, float]:
    value = engine.metrics.registry.get_sample_value
    return {name: value("face_stage_seconds_count", {"stage": name}) or 0 for name in ("measure", "embed")}


def test_sharpness_and_brightness_are_measured_for_who_shows_or_judges_them(engine: LocalEngine) -> None:
    def measured(look: Look) -> bool:
        (face,) = engine.pipeline.analyse(WholePicture(portrait()), look)
        return face.quality is not None

    assert not measured(Look(Embed.ALL, 10))
    assert measured(Look(Embed.NONE, 10, detail=Detail.POINTS))
    assert measured(Look(Embed.ALL, 10, QualityLevel.AUTO))
    assert measured(Look(Embed.ALL, 10, keep=1))
