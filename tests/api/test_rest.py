"""The REST door: the same faces with the same field names, by multipart and JSON."""

import base64
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

from tests import photos

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient


def test_life_of_a_collection(http: httpx.Client) -> None:
    name = f"rest-{uuid4()}"
    created = http.post("/api/v1/collections", json={"collection_id": name})
    assert created.status_code == 201
    assert created.json()["CollectionArn"].endswith(f":collection/{name}")
    again = http.post("/api/v1/collections", json={"collection_id": name})
    assert (again.status_code, again.json()["code"]) == (409, "ResourceAlreadyExistsException")
    assert name in http.get("/api/v1/collections").json()["CollectionIds"]
    described = http.get(f"/api/v1/collections/{name}").json()
    assert (described["FaceCount"], described["UserCount"]) == (0, 0)
    assert http.delete(f"/api/v1/collections/{name}").json() == {"StatusCode": 200}
    assert http.get(f"/api/v1/collections/{name}").status_code == 404


def test_index_search_list_and_delete(http: httpx.Client, collection: str) -> None:
    base = f"/api/v1/collections/{collection}"
    upload = {"file": ("t1.jpg", photos.group())}
    indexed = http.post(
        f"{base}/index-faces", files=upload, data={"external_image_id": "event/t1 (1).jpg"}
    ).json()
    assert len(indexed["FaceRecords"]) == 6
    face = indexed["FaceRecords"][0]["Face"]
    assert face["ExternalImageId"] == "event/t1 (1).jpg"

    probe = photos.crop_around(photos.group(), face["BoundingBox"])
    by_image = http.post(
        f"{base}/search-faces",
        json={"image_base64": base64.b64encode(probe).decode(), "similarity_threshold": 0, "max_faces": 2},
    ).json()
    assert len(by_image["FaceMatches"]) == 2
    assert by_image["FaceMatches"][0]["Face"]["FaceId"] == face["FaceId"]
    assert by_image["FaceMatches"][0]["Face"]["ExternalImageId"] == "event/t1 (1).jpg"
    by_id = http.post(
        f"{base}/search-faces", json={"face_id": face["FaceId"], "similarity_threshold": 0}
    ).json()
    assert by_id["SearchedFaceId"] == face["FaceId"]
    assert len(by_id["FaceMatches"]) == 5

    first = http.get(f"{base}/faces", params={"max_results": 4}).json()
    rest = http.get(f"{base}/faces", params={"max_results": 4, "next_token": first["NextToken"]}).json()
    assert [len(first["Faces"]), len(rest["Faces"])] == [4, 2]
    deleted = http.request("DELETE", f"{base}/faces", json={"face_ids": [face["FaceId"]]}).json()
    assert deleted == {"DeletedFaces": [face["FaceId"]], "UnsuccessfulFaceDeletions": []}


def test_an_external_image_id_that_rekognition_forbids_has_a_safe_form_there(
    http: httpx.Client, rekognition: "RekognitionClient", collection: str
) -> None:
    for _ in range(2):
        http.post(
            f"/api/v1/collections/{collection}/index-faces",
            files={"file": ("a.png", photos.astronaut())},
            data={"external_image_id": "a/b@c"},
        )
    (face,) = rekognition.list_faces(CollectionId=collection)["Faces"]
    assert face["ExternalImageId"].startswith("id-sha256:")
    assert len(face["ExternalImageId"]) == 74


def test_detect_faces_by_multipart_and_json(http: httpx.Client) -> None:
    group = photos.group()
    as_file = http.post("/api/v1/detect-faces", files={"file": ("t1.jpg", group)}, data={"max_faces": "2"})
    as_json = http.post(
        "/api/v1/detect-faces", json={"image_base64": base64.b64encode(group).decode(), "max_faces": 2}
    )
    assert as_file.json() == as_json.json()
    assert len(as_file.json()["FaceDetails"]) == 2


def test_compare_faces(http: httpx.Client) -> None:
    group = photos.group()
    answer = http.post(
        "/api/v1/compare-faces", files={"source": ("a.jpg", group), "target": ("b.jpg", group)}
    ).json()
    assert [match["Similarity"] for match in answer["FaceMatches"]] == [pytest.approx(100)]
    assert len(answer["UnmatchedFaces"]) == 5


def test_answers_hold_no_embedding_and_no_null(http: httpx.Client, collection: str) -> None:
    answer = http.post(
        f"/api/v1/collections/{collection}/index-faces", files={"file": ("a.png", photos.astronaut())}
    )
    assert "null" not in answer.text
    assert "mbedding" not in answer.text
