"""RebuildIndex: members from storage, refreshed and embedded anew, by a job that tells how far it is."""

import base64
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from app.measure.service import RunningService, running
from tests import photos
from tests.api.index_jobs import portraits, wait
from tests.api.kills import rebuild_under_kills
from tests.supabase import SupabaseSite, settings_for, supabase


@pytest.fixture(scope="module")
def storage() -> Iterator[SupabaseSite]:
    with supabase() as site:
        yield site


@pytest.fixture(scope="module")
def service(storage: SupabaseSite) -> Iterator[RunningService]:
    with running(**settings_for(storage), WORKERS="1", IMAGE_URL_ALLOWED_NETWORKS="127.0.0.1/32") as started:
        yield started


@pytest.fixture(scope="module")
def http(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def people(http: httpx.Client) -> list[bytes]:
    group = photos.group()
    found = http.post("/api/v1/detect-faces", files={"image": ("t1.jpg", group)}).json()["FaceDetails"]
    return [photos.crop_around(group, face["BoundingBox"]) for face in found]


@pytest.fixture
def place(http: httpx.Client) -> dict[str, str]:
    name = f"index-{uuid4()}"
    http.post("/api/v1/collections", json={"collection_id": name}).raise_for_status()
    return {"collection": name}


def members(http: httpx.Client, place: dict[str, str]) -> dict[str, int]:
    listed = http.get("/members", params={**place, "limit": "1000"}).json()["members"]
    return {member["member_id"]: member["face_count"] for member in listed}


def who(http: httpx.Client, place: dict[str, str], photo: bytes) -> str | None:
    sent = {"image_base64": base64.b64encode(photo).decode()}
    found: str | None = http.post("/identify", params=place, json=sent).json()["member_id"]
    return found


def test_a_prefix_enrolls_a_member_for_every_photo(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    for number, photo in enumerate(portraits(people, 6)):
        storage.files[f"profiles/membros/ana {number}.png"] = photo
    storage.files["profiles/membros/.emptyFolderPlaceholder"] = b""
    storage.files["profiles/membros/notes.txt"] = b"no photo"
    storage.files["profiles/membros/old/deep.jpg"] = photos.without_face()
    storage.files["profiles/others/ana 7.png"] = people[0]
    begun = http.post("/index", params=place, json={"prefix": "membros/"})
    assert begun.status_code == 202
    assert begun.json()["status"] in ("queued", "running", "succeeded")
    job = wait(http, begun.json()["job_id"])
    assert (job["status"], job["total"], job["done"], job["failed"]) == ("succeeded", 7, 6, 1)
    (failure,) = job["failures"]
    assert (failure["member_id"], failure["reason"]) == ("deep", "NoFaceFound")
    assert job["percent"] == 100
    assert members(http, place) == {f"ana {number}": 1 for number in range(6)}
    assert [who(http, place, person) for person in people] == [f"ana {number}" for number in range(6)]


def test_folders_name_members_with_several_photos(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    first, second = portraits([people[0]], 2)
    storage.files |= {
        "profiles/f/1/a.png": first,
        "profiles/f/1/b.png": second,
        "profiles/f/2/a.png": people[1],
    }
    body = {"prefix": "f/", "member_id_from": "folder"}
    job = wait(http, http.post("/index", params=place, json=body).json()["job_id"])
    assert (job["status"], job["done"]) == ("succeeded", 3)
    assert members(http, place) == {"1": 2, "2": 1}


def test_a_refresh_replaces_the_faces_of_its_photos_and_no_others(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    storage.files["profiles/r/anna.png"] = people[0]
    uploaded = {"image": ("a.jpg", people[1])}
    http.post("/enroll", params=place, files=uploaded, data={"member_id": "anna"}).raise_for_status()
    listed = {"photos": [{"member_id": "anna", "supabase_path": "r/anna.png"}]}
    for photo in (people[0], people[0], people[2]):
        storage.files["profiles/r/anna.png"] = photo
        job = wait(http, http.post("/index", params=place, json=listed).json()["job_id"])
        assert (job["status"], job["done"]) == ("succeeded", 1)
        assert members(http, place) == {"anna": 2}
        assert who(http, place, photo) == "anna"
    assert who(http, place, people[0]) is None
    shown = http.get("/members/anna", params=place).json()
    assert sorted(face["stored_photo"] for face in shown["faces"]) == [False, True]


def test_every_face_is_embedded_anew_from_its_photo(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    storage.files["profiles/e/anna.png"] = people[0]
    http.post("/enroll", params=place, json={"member_id": "anna", "supabase_path": "e/anna.png"})
    http.post(
        "/enroll", params=place, files={"image": ("a.jpg", people[1])}, data={"member_id": "bea"}
    ).raise_for_status()
    before = http.get("/members/anna", params=place).json()["faces"][0]["face_id"]
    job = wait(http, http.post("/index", params=place, json={}).json()["job_id"])
    assert (job["status"], job["done"], job["failed"]) == ("succeeded", 1, 1)
    (failure,) = job["failures"]
    assert (failure["member_id"], failure["reason"]) == ("bea", "NoPhotoReference")
    assert members(http, place) == {"anna": 1, "bea": 1}
    assert http.get("/members/anna", params=place).json()["faces"][0]["face_id"] == before
    assert [who(http, place, person) for person in people[:2]] == ["anna", "bea"]


def test_photos_that_cannot_be_read_are_named_and_the_others_are_indexed(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    storage.files["profiles/u/ok.png"] = people[0]
    storage.files["profiles/u/text.png"] = b"text"
    listed = [
        {"member_id": "ok", "supabase_path": "u/ok.png"},
        {"member_id": "gone", "supabase_path": "u/gone.png"},
        {"member_id": "text", "supabase_path": "u/text.png"},
        {"member_id": "bucket", "s3_bucket": "secret", "s3_key": "a.jpg"},
        {"member_id": "host", "image_url": "http://127.0.0.2/a.jpg"},
        {
            "member_id": "link",
            "image_url": f"{storage.url}/storage/v1/object/sign/profiles/u/ok.png?token=signed",
        },
    ]
    job = wait(http, http.post("/index", params=place, json={"photos": listed}).json()["job_id"])
    assert (job["status"], job["done"], job["failed"]) == ("succeeded", 2, 4)
    assert {failure["member_id"]: failure["reason"] for failure in job["failures"]} == {
        "gone": "InvalidSupabaseObjectException",
        "text": "InvalidImageFormatException",
        "bucket": "InvalidS3ObjectException",
        "host": "ImageUrlNotAllowed",
    }
    assert members(http, place) == {"ok": 1, "link": 1}
    # A signed address is not kept.
    assert http.get("/members/link", params=place).json()["faces"][0]["stored_photo"] is False


def test_a_storage_that_fails_for_a_moment_is_asked_again(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    storage.files["profiles/b/anna.png"] = people[0]
    storage.broken = 2
    body = {"photos": [{"member_id": "anna", "supabase_path": "b/anna.png"}]}
    job = wait(http, http.post("/index", params=place, json=body).json()["job_id"])
    assert (job["status"], job["done"]) == ("succeeded", 1)


def test_one_job_at_a_time_and_a_member_erased_meanwhile_stays_erased(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    for number, photo in enumerate(portraits(people, 30)):
        storage.files[f"profiles/many/m{number}.png"] = photo
    http.post("/enroll", params=place, json={"member_id": "m3", "supabase_path": "many/m3.png"})
    job_id = http.post("/index", params=place, json={"prefix": "many/"}).json()["job_id"]
    refused = http.post("/index", params=place, json={})
    assert (refused.status_code, refused.json()["reason"]) == (409, "IndexInProgress")
    wait(http, job_id, lambda job: job["total"] == 30)
    assert http.delete("/members/m3", params=place).status_code == 200
    job = wait(http, job_id)
    assert job["status"] == "succeeded"
    assert members(http, place) == {f"m{number}": 1 for number in range(30) if number != 3}


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (
            {"prefix": "a", "photos": [{"member_id": "a", "image_url": "https://a.example"}]},
            422,
            "InvalidImageFields",
        ),
        ({"photos": []}, 422, "InvalidField"),
        ({"photos": [{"member_id": "a"}]}, 422, "InvalidImageFields"),
        ({"photos": [{"member_id": "a", "image_base64": "aGVsbG8="}]}, 422, "InvalidImageFields"),
        ({"photos": [{"member_id": " ", "image_url": "https://a.example"}]}, 422, "InvalidId"),
        ({"prefix": "../secrets/"}, 422, None),
        ({"prefix": "s3://secret/"}, 422, None),
        ({"prefix": "a/", "member_id_from": "exif"}, 422, "InvalidField"),
    ],
)
def test_wrong_jobs_are_refused(
    http: httpx.Client, place: dict[str, str], body: dict[str, object], status: int, reason: str | None
) -> None:
    answer = http.post("/index", params=place, json=body)
    assert (answer.status_code, answer.json().get("reason")) == (status, reason)


def test_an_unknown_job_is_not_there(http: httpx.Client) -> None:
    assert http.get(f"/index/{uuid4()}").status_code == 404
    assert http.get("/index/no-uuid").status_code == 422


def test_supabase_is_a_source_of_every_endpoint(
    http: httpx.Client, storage: SupabaseSite, people: list[bytes]
) -> None:
    storage.files["profiles/s/ä b?.png"] = people[0]
    body = {"a_supabase_path": "s/ä b?.png", "b_supabase_path": "/s/ä b?.png"}
    assert http.post("/compare", json=body).json()["match"] is True
    found = http.post("/api/v1/detect-faces", json={"supabase_path": "s/ä b?.png"}).json()
    assert len(found["FaceDetails"]) == 1
    for path in ("s/nothing.png", "../profiles/s/ä b?.png"):
        refused = http.post("/identify", json={"supabase_path": path})
        assert (refused.status_code, refused.json()["code"]) == (422, "InvalidSupabaseObjectException")
    storage.broken = 1
    assert http.post("/identify", json={"supabase_path": "s/ä b?.png"}).status_code == 503
    public = f"{storage.url}/storage/v1/object/public/profiles/s/%C3%A4%20b%3F.png"
    assert http.post("/compare", json={"a_image_url": public, "b_image_url": public}).json()["match"] is True


def test_a_storage_that_answers_nonsense_stops_its_job_and_no_other(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    storage.nonsense = True
    try:
        poisoned = http.post("/index", params=place, json={"prefix": "p/"}).json()["job_id"]
        storage.files["profiles/q/anna.png"] = people[0]
        other = {"collection": f"index-{uuid4()}"}
        http.post("/api/v1/collections", json={"collection_id": other["collection"]}).raise_for_status()
        body = {"photos": [{"member_id": "anna", "supabase_path": "q/anna.png"}]}
        job = wait(http, http.post("/index", params=other, json=body).json()["job_id"])
        assert job["status"] == "succeeded"
        job = wait(http, poisoned)
        assert (job["status"], job["reason"]) == ("failed", "ServiceUnavailableError")
    finally:
        storage.nonsense = False


def test_a_member_erased_during_the_listing_stays_erased(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    for number, photo in enumerate(portraits(people, 4)):
        storage.files[f"profiles/slow/{number % 2}/m{number}.png"] = photo
    http.post("/enroll", params=place, json={"member_id": "m1", "supabase_path": "slow/1/m1.png"})
    storage.delay_s = 1
    try:
        job_id = http.post("/index", params=place, json={"prefix": "slow/"}).json()["job_id"]
        wait(http, job_id, lambda job: job["status"] == "running")
        assert http.delete("/members/m1", params=place).status_code == 200
        job = wait(http, job_id)
    finally:
        storage.delay_s = 0
    assert (job["status"], job["done"], job["failed"]) == ("succeeded", 3, 1)
    assert job["failures"][0]["reason"] == "MemberErased"
    assert members(http, place) == {"m0": 1, "m2": 1, "m3": 1}


def test_refreshed_faces_keep_their_places_when_a_member_is_full(
    http: httpx.Client, place: dict[str, str], storage: SupabaseSite, people: list[bytes]
) -> None:
    old, new = portraits(people[:1], 103)[:100], portraits(people[:1], 103)[100:]
    for number, photo in enumerate(old):
        storage.files[f"profiles/full/old{number:03}/x.png"] = photo
    listed = [{"member_id": "anna", "supabase_path": f"full/old{number:03}/x.png"} for number in range(100)]
    assert (
        wait(http, http.post("/index", params=place, json={"photos": listed}).json()["job_id"])["done"] == 100
    )
    for number, photo in enumerate(new):
        storage.files[f"profiles/full/new{number}/x.png"] = photo
    more = [{"member_id": "anna", "supabase_path": f"full/new{number}/x.png"} for number in range(3)]
    job = wait(http, http.post("/index", params=place, json={"photos": more + listed[:5]}).json()["job_id"])
    assert (job["done"], job["failed"]) == (5, 3)
    assert {failure["reason"] for failure in job["failures"]} == {"TooManyFaces"}
    assert members(http, place) == {"anna": 100}


def test_a_rebuild_survives_three_kills_and_no_search_misses_anybody(
    tmp_path: Path, storage: SupabaseSite
) -> None:
    storage.delay_s = 0.5  # or the job is over before a replica is up again
    try:
        listed, searches = rebuild_under_kills(tmp_path, storage, 40, kills=1)
    finally:
        storage.delay_s = 0
    assert listed == {"before": 1, **{f"m{number}": 1 for number in range(40)}}
    assert searches.wrong == []
    assert searches.right > 5
