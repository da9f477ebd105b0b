"""A member from enrolment to erasure: several photos, metadata, lists, all faces, automatic threshold."""

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
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


@pytest.fixture
def place(collection: str) -> dict[str, str]:
    return {"collection": collection}


def enroll(http: httpx.Client, place: dict[str, str], member: str, *images: bytes, **more: Any) -> Any:
    body = {"member_id": member, "images": [{"image_base64": base64_of(image)} for image in images], **more}
    answer = http.post("/enroll", params=place, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_several_photos_at_once_as_json_and_as_files(
    http: httpx.Client, place: dict[str, str], people: list[bytes]
) -> None:
    done = enroll(http, place, "anna", people[0], people[1])
    assert (done["created"], done["face_count"], len(done["faces"])) == (True, 2, 2)
    assert done["face_id"] == done["faces"][0]["face_id"]
    files = [("files", ("a.jpg", people[1])), ("files", ("b.jpg", people[2]))]
    more = http.post("/enroll", params=place, files=files, data={"member_id": "anna"}).json()
    assert [face["created"] for face in more["faces"]] == [False, True]
    assert more["face_count"] == 3


def test_one_photo_without_a_face_stores_nothing_of_the_others(
    http: httpx.Client, place: dict[str, str], people: list[bytes]
) -> None:
    images = [{"image_base64": base64_of(data)} for data in (people[0], photos.without_face())]
    answer = http.post("/enroll", params=place, json={"member_id": "anna", "images": images})
    assert (answer.status_code, answer.json()["reason"]) == (422, "NoFaceFound")
    assert "mage 2" in answer.json()["detail"]
    assert http.get("/members", params=place).json()["members"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"member_id": "a"},
        {"member_id": "a", "images": []},
        {"member_id": "a", "images": [{}]},
        {"member_id": "a", "images": [{"image_url": "https://a.example"}] * 11},
        {"member_id": "a", "image_url": "https://a.example", "image_base64": "aGVsbG8=", "mode": "both"},
        {"member_id": "a", "image_url": "https://a.example", "metadata": [1]},
        {"member_id": "a", "image_base64": "aGVsbG8=", "metadata": "no json"},
        {"member_id": "a", "images": [{"image_url": "https://a.example", "image_base64": "aGVsbG8="}]},
    ],
)
def test_wrong_enrolments_are_refused(http: httpx.Client, body: dict[str, Any]) -> None:
    answer = http.post("/enroll", json=body)
    assert answer.status_code == 422
    assert answer.json()["reason"] in ("InvalidField", "InvalidImageFields")


def test_replace_keeps_the_new_photos_only(
    http: httpx.Client, place: dict[str, str], people: list[bytes]
) -> None:
    enroll(http, place, "anna", people[0], people[1])
    done = enroll(http, place, "anna", people[1], people[2], mode="replace")
    assert [face["created"] for face in done["faces"]] == [False, True]
    assert done["face_count"] == 2
    kept = http.get("/members/anna", params=place).json()
    assert {face["face_id"] for face in kept["faces"]} == {face["face_id"] for face in done["faces"]}


def test_metadata_is_merged_shown_and_found(
    http: httpx.Client, place: dict[str, str], people: list[bytes]
) -> None:
    enroll(http, place, "anna", people[0], metadata={"name": "Anna", "team": {"id": 1, "room": 2}})
    form = {"member_id": "anna", "metadata": json.dumps({"age": 30})}
    http.post("/enroll", params=place, files={"image": ("a.jpg", people[0])}, data=form).raise_for_status()
    change = {"metadata": {"name": None, "team": {"room": None, "floor": 3}}}
    patched = http.patch("/members/anna", params=place, json=change).json()
    expected = {"age": 30, "team": {"id": 1, "floor": 3}}
    assert patched["metadata"] == expected
    found = http.post("/identify", params=place, json={"image_base64": base64_of(people[0])}).json()
    assert found["matches"][0]["metadata"] == expected
    assert http.get("/members/anna", params=place).json()["metadata"] == expected
    too_long = http.patch("/members/anna", params=place, json={"metadata": {"x": "x" * 20_000}})
    assert too_long.status_code == 422
    assert http.get("/members/anna", params=place).json()["metadata"] == expected


def test_members_are_listed_page_by_page_with_any_id(
    http: httpx.Client, place: dict[str, str], people: list[bytes]
) -> None:
    ids = ["anna", "a/b c", "Zoë", "id with spaces"]
    for member in ids:
        enroll(http, place, member, people[0])
    listed, token = [], None
    while True:
        asked = {**place, "limit": "1"} | ({"next_token": token} if token else {})
        page = http.get("/members", params=asked)
        listed += [member["member_id"] for member in page.json()["members"]]
        token = page.json()["next_token"]
        if token is None:
            break
    assert sorted(listed) == sorted(ids)
    for member in ids:
        found = http.get(f"/members/{quote(member)}", params=place).json()
        assert (found["member_id"], found["face_count"]) == (member, 1)
    wrong = http.get("/members", params={**place, "next_token": "made-up"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "InvalidPaginationTokenException")


def test_an_erased_member_leaves_nothing(
    http: httpx.Client, rekognition: "RekognitionClient", place: dict[str, str], people: list[bytes]
) -> None:
    enroll(http, place, "anna", people[0], people[1])
    enroll(http, place, "bea", people[2])
    gone = http.delete("/members/anna", params=place).json()
    assert gone == {"deleted": True, "member_id": "anna", "faces_deleted": 2}
    described = rekognition.describe_collection(CollectionId=place["collection"])
    assert (described["FaceCount"], described["UserCount"]) == (1, 1)
    for answer in (
        http.get("/members/anna", params=place),
        http.delete("/members/anna", params=place),
        http.patch("/members/anna", params=place, json={"metadata": {}}),
        http.post("/verify", params=place, json={"member_id": "anna", "image_base64": base64_of(people[0])}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "ResourceNotFoundException")


def test_what_one_door_writes_the_other_reads(
    http: httpx.Client, rekognition: "RekognitionClient", place: dict[str, str], people: list[bytes]
) -> None:
    here = place["collection"]
    rekognition.create_user(CollectionId=here, UserId="by-aws")
    indexed = rekognition.index_faces(CollectionId=here, Image={"Bytes": people[0]})
    face = indexed["FaceRecords"][0]["Face"]["FaceId"]
    rekognition.associate_faces(CollectionId=here, UserId="by-aws", FaceIds=[face])
    enroll(http, place, "by-rest", people[1])
    assert {user["UserId"] for user in rekognition.list_users(CollectionId=here)["Users"]} == {
        "by-aws", "by-rest"
    }  # fmt: skip
    assert http.get("/members/by-aws", params=place).json()["faces"][0]["face_id"] == face
    found = rekognition.search_users_by_image(CollectionId=here, Image={"Bytes": people[1]})
    assert found["UserMatches"][0]["User"]["UserId"] == "by-rest"
    assert http.delete("/members/by-aws", params=place).json()["faces_deleted"] == 1


def test_all_faces_of_a_photo_are_identified(
    http: httpx.Client, place: dict[str, str], people: list[bytes]
) -> None:
    for number, portrait in enumerate(people[:4]):
        enroll(http, place, f"m{number}", portrait)
    files = {"image": ("t1.jpg", photos.group())}
    found = http.post("/identify", params=place, files=files, data={"faces": "all", "top_k": "2"}).json()
    assert found["face_count"] == 6
    assert [face["member_id"] for face in found["faces"]] == ["m0", "m1", "m2", "m3", None, None]
    assert found["member_id"] == "m0"
    assert all(0 < face["box"]["width"] < 1 for face in found["faces"])


def test_an_automatic_threshold_grows_with_the_collection_and_is_told(
    http: httpx.Client, place: dict[str, str], people: list[bytes]
) -> None:
    asked = {"image_base64": base64_of(people[0]), "threshold": "auto"}
    enroll(http, place, "m0", people[0])
    few = http.post("/identify", params=place, json=asked).json()
    for number in range(1, 6):
        enroll(http, place, f"m{number}", people[number])
    more = http.post("/identify", params=place, json=asked).json()
    assert few["threshold_mode"] == more["threshold_mode"] == "auto"
    assert more["threshold"] > few["threshold"]
    assert more["member_id"] == "m0"
    fixed = http.post("/identify", params=place, json=asked | {"threshold": 0.5}).json()
    assert (fixed["threshold_mode"], fixed["threshold"]) == ("fixed", 0.5)
    wrong = http.post("/identify", params=place, json=asked | {"threshold": "automatic"})
    assert wrong.status_code == 422


def test_members_of_an_unknown_collection_are_not_there(http: httpx.Client) -> None:
    nowhere = {"collection": f"nowhere-{uuid4()}"}
    for answer in (http.get("/members", params=nowhere), http.get("/members/a", params=nowhere)):
        assert (answer.status_code, answer.json()["code"]) == (404, "ResourceNotFoundException")


def test_without_settings_supabase_says_what_is_missing(http: httpx.Client) -> None:
    answer = http.post("/identify", json={"supabase_path": "a.png"})
    assert (answer.status_code, answer.json()["reason"]) == (422, "SupabaseNotConfigured")


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"a": "\0"}},
        {"metadata": {"\0": 1}},
        {"metadata": {"a": [{"b": "x\0"}]}},
        {"metadata": {"a": 10**16}},
        {"subject": "\0"},
    ],
)
def test_what_the_database_cannot_keep_is_refused(
    http: httpx.Client, place: dict[str, str], people: list[bytes], body: dict[str, Any]
) -> None:
    enroll(http, place, "anna", people[0])
    for answer in (
        http.patch("/members/anna", params=place, json=body),
        http.post(
            "/enroll", params=place, json={"member_id": "b", "image_base64": base64_of(people[0]), **body}
        ),
    ):
        assert (answer.status_code, answer.json()["reason"]) == (422, "InvalidField")
    for number in ("1e999", "-1e999", "1e400"):
        raw = http.patch(
            "/members/anna",
            params=place,
            content=f'{{"metadata": {{"a": {number}}}}}',
            headers={"Content-Type": "application/json"},
        )
        assert (raw.status_code, raw.json()["reason"]) == (422, "InvalidField")


def test_prefixes_and_places_with_nul_are_refused(http: httpx.Client) -> None:
    for body in (
        {"prefix": "m/\0"},
        {"photos": [{"member_id": "a", "image_url": "https://a.example/\0"}]},
        {"photos": [{"member_id": "a", "supabase_path": "\0"}]},
        {"photos": [{"member_id": "a", "image_url": "supabase:profiles/a.png"}]},
    ):
        assert http.post("/index", json=body).status_code == 422


def test_an_empty_text_is_an_absent_field_as_in_a_form(
    http: httpx.Client, place: dict[str, str], people: list[bytes]
) -> None:
    sent = {
        "member_id": 123,
        "image_base64": base64_of(people[0]),
        "image_url": "",
        "mode": "",
        "subject": "",
    }
    assert http.post("/enroll", params=place, json=sent).json()["member_id"] == "123"
    found = http.post("/identify", params=place, json={"image_base64": base64_of(people[0]), "threshold": ""})
    assert (found.json()["member_id"], found.json()["threshold"]) == ("123", 0.35)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/identify?threshold=auto"),
        ("GET", "/members?colection=x"),
        ("DELETE", "/members/1?collections=a"),
    ],
)
def test_a_misspelt_query_parameter_is_refused(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()["reason"]) == (422, "InvalidField")
    assert "query" in answer.json()["detail"]


def test_a_threshold_that_is_no_cosine_is_explained(http: httpx.Client) -> None:
    sent = {"image": ("a.png", photos.astronaut())}
    answer = http.post("/identify", files=sent, data={"threshold": "80"})
    assert "is a cosine from -1 to 1, or auto" in answer.json()["detail"]


def test_an_error_names_the_image_that_it_means_where_there_are_several(http: httpx.Client) -> None:
    good, bad = photos.astronaut(), photos.without_face()
    single = http.post("/enroll", files={"image": ("a.jpg", bad)}, data={"member_id": "nobody"})
    assert single.json()["detail"].startswith("There are no faces")
    compared = http.post("/compare", files={"a": ("a.png", good), "b": ("b.jpg", bad)})
    assert compared.json()["detail"].startswith("b: There are no faces")
