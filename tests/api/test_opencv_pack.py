"""The service with the permissive pack, end to end; and collections that move to it."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from botocore.exceptions import ClientError

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, running, start
from app.store.embedded import EmbeddedPostgres
from tests import opencv_pack, photos
from tests.api.index_jobs import wait
from tests.supabase import settings_for, supabase

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    opencv_pack.models(folder)
    return folder


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[RunningService]:
    with running(MODEL_PACK="opencv", MODELS_DIR=str(models)) as started:
        yield started


@pytest.fixture(scope="module")
def rekognition(service: RunningService) -> "RekognitionClient":
    return rekognition_client(service.url, 4)


def test_faces_are_indexed_and_found_by_a_crop(rekognition: "RekognitionClient") -> None:
    made = rekognition.create_collection(CollectionId="party")
    assert made["FaceModelVersion"] == "4.0"
    indexed = rekognition.index_faces(
        CollectionId="party", Image={"Bytes": photos.group()}, ExternalImageId="t1.jpg"
    )
    assert len(indexed["FaceRecords"]) == 6
    assert indexed["UnindexedFaces"] == []
    assert indexed["FaceModelVersion"] == "4.0"
    for record in indexed["FaceRecords"]:
        assert record["Face"]["Confidence"] > 90
        crop = photos.crop_around(photos.group(), record["Face"]["BoundingBox"])
        (match,) = rekognition.search_faces_by_image(CollectionId="party", Image={"Bytes": crop})[
            "FaceMatches"
        ]
        assert match["Face"]["FaceId"] == record["Face"]["FaceId"]
        assert match["Similarity"] > 80
    stranger = rekognition.search_faces_by_image(
        CollectionId="party", Image={"Bytes": photos.astronaut()}, QualityFilter="AUTO"
    )
    assert stranger["FaceMatches"] == []


def test_faces_are_compared(rekognition: "RekognitionClient") -> None:
    box = rekognition.detect_faces(Image={"Bytes": photos.group()})["FaceDetails"][0]["BoundingBox"]
    crop = photos.crop_around(photos.group(), box)
    compared = rekognition.compare_faces(SourceImage={"Bytes": crop}, TargetImage={"Bytes": photos.group()})
    assert len(compared["FaceMatches"]) == 1
    assert len(compared["UnmatchedFaces"]) == 5


def test_attributes_are_what_five_points_tell(rekognition: "RekognitionClient") -> None:
    (face,) = rekognition.detect_faces(Image={"Bytes": photos.astronaut()}, Attributes=["ALL"])["FaceDetails"]
    five = ["eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"]
    assert [point["Type"] for point in face["Landmarks"]] == five
    assert abs(face["Pose"]["Roll"]) < 20
    assert face["Quality"]["Sharpness"] > 0
    assert face.keys() == {"BoundingBox", "Landmarks", "Pose", "Quality", "Confidence"}


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_selfie_is_found(rekognition: "RekognitionClient", turn: int) -> None:
    turned = photos.encode(photos.opened(photos.astronaut()).rotate(turn, expand=True))
    compared = rekognition.compare_faces(
        SourceImage={"Bytes": photos.astronaut()}, TargetImage={"Bytes": turned}, SimilarityThreshold=90
    )
    assert len(compared["FaceMatches"]) == 1


def test_status_shows_the_licence(service: RunningService) -> None:
    status = httpx.get(f"{service.url}/ops/status").json()["model_pack"]
    assert status["name"] == "opencv"
    assert "SFace: Apache-2.0" in status["licence"]


def test_a_collection_of_the_pack_mobile_is_refused_until_it_is_indexed_anew(
    models: Path, tmp_path: Path
) -> None:
    def who(http: httpx.Client) -> httpx.Response:
        photo = base64.b64encode(photos.astronaut()).decode()
        return http.post("/identify", json={"image_base64": photo})

    database = EmbeddedPostgres(tmp_path / "database")
    settings = {"DATABASE_URL": database.start(), "WORKERS": "1", "MODELS_DIR": str(models)}
    try:
        with supabase() as storage:
            settings |= settings_for(storage)
            storage.files["profiles/anna.png"] = photos.astronaut()
            storage.files["profiles/group.jpg"] = photos.group()
            before = start(tmp_path / "before", **settings)
            try:
                with httpx.Client(base_url=before.url, timeout=60) as http:
                    for member, path in (("anna", "anna.png"), ("bea", "group.jpg")):
                        asked = {"member_id": member, "supabase_path": path}
                        http.post("/enroll", json=asked).raise_for_status()
            finally:
                before.stop()
            after = start(tmp_path / "after", MODEL_PACK="opencv", **settings)
            try:
                with httpx.Client(base_url=after.url, timeout=60) as http:
                    assert (who(http).status_code, who(http).json()["reason"]) == (409, "FaceModelMismatch")
                    with pytest.raises(ClientError, match="face model"):
                        rekognition_client(after.url).search_faces_by_image(
                            CollectionId="members", Image={"Bytes": photos.astronaut()}
                        )
                    job = wait(http, http.post("/index", json={}).json()["job_id"])
                    assert (job["status"], job["done"], job["failed"]) == ("succeeded", 2, 0)
                    assert who(http).json()["member_id"] == "anna"
                    described = http.get("/api/v1/collections/members").json()
                    assert (described["FaceModelVersion"], described["FaceCount"]) == ("4.0", 2)
            finally:
                after.stop()
    finally:
        database.stop()
