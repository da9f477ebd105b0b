"""Large photos are decoded no further than their faces need."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.domain import Detail, Embed, Face, Look, WholePicture
from app.images.decode import EncodedPicture, decode
from app.measure.engine import LIMITS, LocalEngine
from tests import photos

LOOK = Look(Embed.ALL, 100, detail=Detail.POINTS)


def enlarged(width: int, orientation: int = 1) -> bytes:
    """The photo of six people, as a camera of more megapixels writes it."""
    group = photos.opened(photos.group())
    large = group.resize((width, round(group.height * width / group.width)), Image.Resampling.LANCZOS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    large.save(file, "JPEG", quality=92, exif=exif)
    return file.getvalue()


class Watched(EncodedPicture):
    """Tells how large each decoded picture was."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, LIMITS)
        self.sides: list[int] = []

    def pixels(self, long_side: int | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        found = super().pixels(long_side)
        self.sides.append(max(found.shape[:2]))
        return found


def pairs(one: tuple[Face, ...], other: tuple[Face, ...]) -> list[tuple[Face, Face]]:
    assert len(one) == len(other)
    return [(face, max(other, key=lambda found: found.box.iou(face.box))) for face in one]


@pytest.mark.parametrize("width", [2560, 4000, 6000])
def test_faces_of_a_large_photo_are_those_of_all_its_pixels(engine: LocalEngine, width: int) -> None:
    data = enlarged(width)
    picture = Watched(data)
    found = engine.pipeline.analyse(picture, LOOK)
    whole = engine.pipeline.analyse(WholePicture(decode(data, LIMITS)), LOOK)
    assert len(found) == 6
    assert max(picture.sides) < width
    for face, same in pairs(found, whole):
        assert face.box.iou(same.box) > 0.9
        assert face.side_px == pytest.approx(same.side_px, rel=0.05)
        assert face.embedding is not None
        assert same.embedding is not None
        assert float(face.embedding @ same.embedding) > 0.97
        assert face.quality is not None
        assert same.quality is not None
        assert face.quality.sharpness == pytest.approx(same.quality.sharpness, abs=10)


def test_a_small_face_is_cut_from_a_finer_picture(engine: LocalEngine) -> None:
    group = photos.opened(enlarged(1500))
    crowd = Image.new("RGB", (5120, 3413), (90, 110, 90))
    crowd.paste(group, (1800, 1200))
    file = io.BytesIO()
    crowd.save(file, "JPEG", quality=92)
    picture = Watched(file.getvalue())
    found = engine.pipeline.analyse(picture, LOOK)
    assert len(found) == 6
    assert picture.sides[0] == 1280
    assert picture.sides[1] > 1280
    whole = engine.pipeline.analyse(WholePicture(decode(file.getvalue(), LIMITS)), LOOK)
    for face, same in pairs(found, whole):
        assert face.embedding is not None
        assert same.embedding is not None
        assert float(face.embedding @ same.embedding) > 0.9


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_upright_at_every_size(orientation: int) -> None:
    data = enlarged(2600, orientation)
    picture = EncodedPicture(data, LIMITS)
    small = picture.pixels(600).astype(int)
    whole = decode(data, LIMITS)
    assert picture.size == (whole.shape[1], whole.shape[0])
    assert max(small.shape[:2]) == 650
    reference = Image.fromarray(whole).resize((small.shape[1], small.shape[0]), Image.Resampling.BOX)
    assert np.abs(small - np.asarray(reference)).mean() < 2


def test_no_picture_is_decoded_smaller_than_asked_for() -> None:
    picture = EncodedPicture(enlarged(2600), LIMITS)
    for side in (100, 326, 650, 651, 1300, 1301, 2600, 9000):
        assert max(picture.pixels(side).shape[:2]) >= min(side, 2600)
    assert max(EncodedPicture(photos.astronaut(), LIMITS).pixels(100).shape[:2]) == 512


def test_a_search_looks_closer_at_the_largest_face_alone(engine: LocalEngine) -> None:
    """People behind whoever holds the camera cost no second decode."""
    portrait = photos.opened(photos.astronaut()).resize((2600, 2600), Image.Resampling.LANCZOS)
    crowd = Image.new("RGB", (5120, 3413), (90, 110, 90))
    crowd.paste(portrait, (0, 0))
    crowd.paste(photos.opened(enlarged(1500)), (2650, 1200))
    file = io.BytesIO()
    crowd.save(file, "JPEG", quality=92)
    searched, indexed = Watched(file.getvalue()), Watched(file.getvalue())
    found = engine.pipeline.analyse(searched, Look(Embed.LARGEST, 100))
    assert len(found) == len(engine.pipeline.analyse(indexed, LOOK)) == 7
    assert found[0].embedding is not None
    assert searched.sides == [1280]
    assert max(indexed.sides) > 1280


def test_every_decode_is_measured_once(engine: LocalEngine) -> None:
    def decodes() -> float:
        return sum(
            sample.value
            for metric in engine.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "face_stage_seconds_count" and sample.labels == {"stage": "decode"}
        )

    before = decodes()
    engine.pipeline.analyse(EncodedPicture(photos.astronaut(), LIMITS), LOOK)
    assert decodes() == before + 1


def test_a_look_with_mirror_images_gives_nearly_the_same_vectors(engine: LocalEngine) -> None:
    picture = EncodedPicture(photos.astronaut(), LIMITS)
    (plain,) = engine.pipeline.analyse(picture, LOOK)
    (mirrored,) = engine.pipeline.analyse(picture, replace(LOOK, mirror=True))
    assert plain.embedding is not None
    assert mirrored.embedding is not None
    assert 0.95 < plain.embedding @ mirrored.embedding < 0.9999
    assert mirrored.strength == plain.strength
