"""Member endpoints: enroll, identify, verify, compare, by curl's and FlutterFlow's ways of sending."""

import base64
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

from tests import photos

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def people(rekognition: "RekognitionClient") -> list[bytes]:
    """A portrait of each of the six people of the group photo."""
    group = photos.group()
    found = rekognition.detect_faces(Image={"Bytes": group})["FaceDetails"]
    return [photos.crop_around(group, face["BoundingBox"]) for face in found]


def test_enrolled_members_are_identified_and_verified(http: httpx.Client, people: list[bytes]) -> None:
    for number, portrait in enumerate(people[:3]):
        answer = http.post("/enroll", json={"member_id": f"m{number}", "image_base64": base64_of(portrait)})
        assert answer.status_code == 200
        ids = {name: answer.json()[name] for name in ("face_id", "image_id")}
        assert answer.json() == {
            "enrolled": True, "created": True, "face_created": True, "member_id": f"m{number}",
            "user_id": f"m{number}", **ids, "face_count": 1, "collection_id": "members",
            "faces": [{**ids, "created": True}],
        }  # fmt: skip
    for number, portrait in enumerate(people[:3]):
        found = http.post("/identify", json={"image_base64": base64_of(portrait), "top_k": 3}).json()
        assert (found["identified"], found["member_id"], len(found["matches"])) == (True, f"m{number}", 1)
        assert found["similarity"] > 99
        assert found["threshold"] == 0.35
    stranger = http.post("/identify", json={"image_base64": base64_of(people[4]), "top_k": 3}).json()
    assert stranger | {"faces": []} == {
        "identified": False, "member_id": None, "similarity": 0.0, "cosine": None, "threshold": 0.35,
        "threshold_mode": "fixed", "face_count": 1, "matches": [], "faces": [],
    }  # fmt: skip
    everyone = http.post(
        "/identify", json={"image_base64": base64_of(people[4]), "top_k": 3, "threshold": -1}
    ).json()
    assert {match["member_id"] for match in everyone["matches"]} == {"m0", "m1", "m2"}
    for member, expected in (("m1", True), ("m0", False)):
        verdict = http.post(
            "/verify", json={"member_id": member, "image_base64": base64_of(people[1])}
        ).json()
        assert (verdict["verified"], verdict["member_id"]) == (expected, member)
        assert (verdict["cosine"] >= 0.35) is expected


@pytest.mark.parametrize("path", ["/enroll/file", "/enroll"])
@pytest.mark.parametrize("field", ["image", "file"])
def test_a_photo_is_enrolled_as_a_file(
    http: httpx.Client, people: list[bytes], path: str, field: str
) -> None:
    member = f"file-{uuid4()}"
    answer = http.post(path, files={field: ("a.jpg", people[5])}, data={"member_id": member})
    assert answer.json()["enrolled"] is True
    verdict = http.post("/verify", files={field: ("a.jpg", people[5])}, data={"member_id": member})
    assert verdict.json()["verified"] is True


def test_same_photo_again_changes_nothing_and_another_photo_adds_a_face(
    http: httpx.Client, people: list[bytes]
) -> None:
    member = f"again-{uuid4()}"
    first, same, other = (
        http.post("/enroll", json={"member_id": member, "image_base64": base64_of(portrait)}).json()
        for portrait in (people[0], people[0], people[1])
    )
    assert (first["created"], first["face_created"], first["face_count"]) == (True, True, 1)
    assert (same["created"], same["face_created"], same["face_count"]) == (False, False, 1)
    assert same["face_id"] == first["face_id"]
    assert (other["created"], other["face_created"], other["face_count"]) == (False, True, 2)
    for portrait in people[:2]:  # the better of both faces counts
        verdict = http.post("/verify", json={"member_id": member, "image_base64": base64_of(portrait)})
        assert verdict.json()["similarity"] > 99


@pytest.mark.parametrize("member_id", ["anna@example.org", "Zoë Ö. / 7", "x" * 255, "id-sha256:abc", "張偉"])
def test_any_printable_member_id_is_kept_beside_a_safe_user_id(
    http: httpx.Client, rekognition: "RekognitionClient", people: list[bytes], member_id: str
) -> None:
    name = f"ids-{uuid4()}"
    rekognition.create_collection(CollectionId=name)
    enrolled = http.post(
        f"/enroll?collection={name}", json={"member_id": member_id, "image_base64": base64_of(people[2])}
    ).json()
    assert enrolled["member_id"] == member_id
    found = http.post(f"/identify?collection={name}", json={"image_base64": base64_of(people[2])}).json()
    assert found["member_id"] == member_id
    listed = rekognition.list_faces(CollectionId=name, UserId=enrolled["user_id"])["Faces"]
    assert [face["FaceId"] for face in listed] == [enrolled["face_id"]]
    assert rekognition.describe_collection(CollectionId=name)["UserCount"] == 1
    rekognition.delete_collection(CollectionId=name)


def test_rekognition_finds_a_member_and_does_not_delete_a_members_face(
    http: httpx.Client, rekognition: "RekognitionClient", people: list[bytes]
) -> None:
    member = f"both-{uuid4()}"
    enrolled = http.post("/enroll", json={"member_id": member, "image_base64": base64_of(people[3])}).json()
    found = rekognition.search_faces_by_image(CollectionId="members", Image={"Bytes": people[3]})
    faces = {match["Face"]["FaceId"]: match["Face"] for match in found["FaceMatches"]}
    assert faces[enrolled["face_id"]]["UserId"] == member
    answer = rekognition.delete_faces(CollectionId="members", FaceIds=[enrolled["face_id"]])
    assert answer["DeletedFaces"] == []
    assert answer["UnsuccessfulFaceDeletions"] == [
        {"FaceId": enrolled["face_id"], "UserId": member, "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]}
    ]


def test_data_urls_and_line_breaks_are_fine_in_base64(http: httpx.Client, people: list[bytes]) -> None:
    text = base64.encodebytes(people[0]).decode()
    for image in (text, f"data:image/jpeg;base64,{text}"):
        answer = http.post("/compare", json={"a_image_base64": image, "b_image_base64": image}).json()
        assert answer == {"match": True, "similarity": 100.0, "cosine": 1.0, "threshold": 0.35}


def test_two_photos_are_compared_as_files(http: httpx.Client, people: list[bytes]) -> None:
    same = http.post("/compare", files={"a": ("a.jpg", people[0]), "b": ("b.jpg", people[0])}).json()
    other = http.post("/compare", files={"a": ("a.jpg", people[0]), "b": ("b.jpg", people[1])}).json()
    assert (same["match"], other["match"]) == (True, False)
    assert other["similarity"] < 80
    chosen = http.post(
        "/compare",
        files={"a": ("a.jpg", people[0]), "b": ("b.jpg", people[1])},
        data={"threshold": "-1"},
    ).json()
    assert (chosen["match"], chosen["threshold"]) == (True, -1.0)


def test_a_member_has_at_most_100_faces(http: httpx.Client, people: list[bytes]) -> None:
    member = f"many-{uuid4()}"
    image = photos.opened(people[0])
    for quality in range(100):
        small = photos.encode(image.resize((160, 160)), quality=quality + 1, comment=str(quality))
        answer = http.post("/enroll", files={"file": ("a.jpg", small)}, data={"member_id": member})
        if answer.status_code == 422:  # JPEG quality 1 may hide the face
            continue
    count = answer.json()["face_count"]
    while count < 100:
        count += 1
        small = photos.encode(image.resize((161 + count, 161 + count)))
        assert (
            http.post("/enroll", files={"file": ("a.jpg", small)}, data={"member_id": member}).json()[
                "face_count"
            ]
            == count
        )
    answer = http.post("/enroll", files={"file": ("a.jpg", people[0])}, data={"member_id": member})
    assert (answer.status_code, answer.json()["code"]) == (409, "ServiceQuotaExceededException")
