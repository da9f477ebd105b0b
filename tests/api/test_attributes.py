"""DetectionAttributes and QualityFilter as an unmodified boto3 program sees them."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageFilter

from app.api.aws.attributes import Attribute
from app.api.aws.compatibility import service_model
from tests import photos

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

ALWAYS = {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}


def detail(rekognition: "RekognitionClient", attributes: list[Any] | None) -> dict[str, Any]:
    asked: dict[str, Any] = {} if attributes is None else {"Attributes": attributes}
    (face,) = rekognition.detect_faces(Image={"Bytes": photos.astronaut()}, **asked)["FaceDetails"]
    return dict(face)


@pytest.mark.parametrize("attributes", [None, [], ["DEFAULT"], ["SMILE", "EMOTIONS"], ["GENDER"]])
def test_without_an_attribute_that_a_model_tells_the_answer_is_the_default(
    rekognition: "RekognitionClient", attributes: list[str] | None
) -> None:
    face = detail(rekognition, attributes)
    assert set(face) == ALWAYS
    assert len(face["Landmarks"]) == 5


@pytest.mark.parametrize("attributes", [["ALL"], ["DEFAULT", "ALL"], ["ALL", "SMILE"]])
def test_all_shows_thirty_landmarks_eyes_and_mouth(
    rekognition: "RekognitionClient", attributes: list[str]
) -> None:
    face = detail(rekognition, attributes)
    assert set(face) == ALWAYS | {"EyesOpen", "MouthOpen"}
    assert [point["Type"] for point in face["Landmarks"]] == service_model()["shapes"]["LandmarkType"]["enum"]
    assert face["EyesOpen"]["Value"] is True
    assert face["MouthOpen"]["Value"] is True
    assert 50 <= face["EyesOpen"]["Confidence"] <= 100


@pytest.mark.parametrize(("attribute", "member"), [("EYES_OPEN", "EyesOpen"), ("MOUTH_OPEN", "MouthOpen")])
def test_a_single_attribute_comes_beside_the_default_ones(
    rekognition: "RekognitionClient", attribute: str, member: str
) -> None:
    face = detail(rekognition, [attribute])
    assert set(face) == ALWAYS | {member}
    assert len(face["Landmarks"]) == 5


def test_every_attribute_of_the_contract_is_known() -> None:
    assert [item.value for item in Attribute] == service_model()["shapes"]["Attribute"]["enum"]


def test_index_faces_shows_the_attributes_asked_for(
    rekognition: "RekognitionClient", collection: str
) -> None:
    image: Any = {"Bytes": photos.astronaut()}
    plain = rekognition.index_faces(CollectionId=collection, Image=image)["FaceRecords"][0]["FaceDetail"]
    assert set(plain) == ALWAYS
    every = rekognition.index_faces(CollectionId=collection, Image=image, DetectionAttributes=["ALL"])
    assert len(every["FaceRecords"][0]["FaceDetail"]["Landmarks"]) == 30


def test_attributes_over_rest(http: httpx.Client) -> None:
    files = {"image": ("a.png", photos.astronaut())}
    sent = http.post("/api/v1/detect-faces", files=files, data={"attributes": "EYES_OPEN,MOUTH_OPEN"})
    (face,) = sent.json()["FaceDetails"]
    assert set(face) == ALWAYS | {"EyesOpen", "MouthOpen"}
    wrong = http.post("/api/v1/detect-faces", files=files, data={"attributes": "EYES_OPEN,NOSE"})
    assert wrong.status_code == 422
    assert "attributes" in json.dumps(wrong.json())


def test_a_turned_photo_turns_the_roll(rekognition: "RekognitionClient") -> None:
    def pose(degrees: float) -> Any:
        turned = photos.encode(photos.opened(photos.astronaut()).rotate(-degrees))
        (face,) = rekognition.detect_faces(Image={"Bytes": turned})["FaceDetails"]
        return face["Pose"]

    upright = pose(0)
    assert pose(40)["Roll"] - upright["Roll"] == pytest.approx(40, abs=2)
    assert pose(-40)["Roll"] - upright["Roll"] == pytest.approx(-40, abs=2)


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(8))


def dark(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, 2, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) * 0.06 + noise, 0, 255).astype(np.uint8))


def small(image: Image.Image) -> Image.Image:
    return image.resize((100, 100), Image.Resampling.BOX)


@pytest.mark.parametrize(
    ("worsen", "reason"),
    [(blurred, "LOW_SHARPNESS"), (dark, "LOW_BRIGHTNESS"), (small, "SMALL_BOUNDING_BOX")],
)
def test_a_poor_face_is_not_indexed_and_the_answer_says_why(
    rekognition: "RekognitionClient",
    collection: str,
    face_count: Callable[[str], int],
    worsen: Callable[[Image.Image], Image.Image],
    reason: str,
) -> None:
    poor: Any = {"Bytes": photos.encode(worsen(photos.opened(photos.astronaut())), quality=95)}
    answer = rekognition.index_faces(CollectionId=collection, Image=poor, QualityFilter="HIGH")
    assert answer["FaceRecords"] == []
    (left,) = answer["UnindexedFaces"]
    assert reason in left["Reasons"]
    assert set(left["FaceDetail"]) == ALWAYS
    assert face_count(collection) == 0
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match="There are no faces"):
        rekognition.search_faces_by_image(CollectionId=collection, Image=poor, QualityFilter="HIGH")
    by_user = rekognition.search_users_by_image(CollectionId=collection, Image=poor, QualityFilter="HIGH")
    assert "SearchedFace" not in by_user
    assert reason in by_user["UnsearchedFaces"][0]["Reasons"]
    unfiltered = rekognition.index_faces(CollectionId=collection, Image=poor, QualityFilter="NONE")
    assert len(unfiltered["FaceRecords"]) == 1


def test_auto_is_the_default_of_index_faces_and_none_that_of_searches(
    rekognition: "RekognitionClient", collection: str
) -> None:
    picture = photos.opened(photos.astronaut())
    poor: Any = {"Bytes": photos.encode(picture.filter(ImageFilter.GaussianBlur(8)))}
    answer = rekognition.index_faces(CollectionId=collection, Image=poor)
    assert [left["Reasons"] for left in answer["UnindexedFaces"]] == [["LOW_FACE_QUALITY"]]
    assert rekognition.search_faces_by_image(CollectionId=collection, Image=poor)["FaceMatches"] == []
