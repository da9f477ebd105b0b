"""Photos of albums: taken in as they come or from a storage, indexed by a worker, shown, and linked to."""

import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from PIL import Image

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.s3_server import BUCKET, S3Server, s3_server
from app.measure.service import RunningService, running
from app.store.embedded import EmbeddedPostgres
from tests import photos
from tests.api.albums import (
    ALBUMS,
    counts,
    crops,
    listed,
    made,
    process,
    status,
    upload,
    wait_for,
    wait_until_finished,
)
from tests.faults import FaultyS3, faulty_s3

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

MIB = 1024 * 1024
LARGEST_FILE, LARGEST_UPLOAD = 3 * MIB, 12 * MIB


@dataclass(frozen=True)
class Site:
    """A service with a worker, and where photos lie."""

    service: RunningService
    s3: S3Server
    proxy: FaultyS3
    folder: Path
    database: str

    @property
    def stored(self) -> Path:
        """Where the service keeps uploads and thumbnails."""
        return self.service.log_path.parent / "photos"

    def put(self, key: str, data: bytes) -> None:
        self.s3.client().put_object(Bucket=BUCKET, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self.s3.client().delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("photos")
    with ExitStack() as stack:
        s3 = stack.enter_context(s3_server())
        proxy = stack.enter_context(faulty_s3(s3.url, share=0))
        service = stack.enter_context(
            running(
                **s3.settings(S3_ENDPOINT_URL=proxy.url, S3_ALLOWED=BUCKET),
                FOLDERS_ALLOWED=str(folder),
                MAX_IMAGE_BYTES=str(LARGEST_FILE),
                MAX_UPLOAD_BYTES=str(LARGEST_UPLOAD),
                MAX_REQUEST_BYTES=str(4 * MIB),
                WORKERS="1",
                WORKER_NICE="0",
            )
        )
        postgres = EmbeddedPostgres(service.log_path.parent)
        stack.callback(postgres.stop)
        yield Site(service, s3, proxy, folder, postgres.start().replace("+psycopg", ""))
        assert "Traceback" not in service.log


@pytest.fixture(scope="module")
def http(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.service.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def rekognition(site: Site) -> "RekognitionClient":
    return rekognition_client(site.service.url)


@pytest.fixture(scope="module")
def people(http: httpx.Client) -> list[bytes]:
    return crops(http)


@pytest.fixture
def album(http: httpx.Client) -> str:
    return made(http)


@pytest.fixture
def prefix() -> str:
    """A folder of the bucket without objects."""
    return f"{uuid4()}/"


def large_photo(least: int) -> bytes:
    """A photo of the group of more than so many bytes."""
    image = photos.opened(photos.group()).resize((1900, 1316))
    data = photos.encode(image, "PNG", compress_level=1)
    assert data.startswith(b"\x89PNG")
    assert len(data) > least
    return data


def faces_in(rekognition: "RekognitionClient", album: str) -> dict[str, list[str]]:
    """The face ids of an album's collection by ExternalImageId."""
    found: dict[str, list[str]] = {}
    for page in rekognition.get_paginator("list_faces").paginate(CollectionId=album):
        for face in page["Faces"]:
            found.setdefault(face["ExternalImageId"], []).append(face["FaceId"])
    return found


def names_with(rekognition: "RekognitionClient", album: str, person: bytes) -> set[str]:
    """The ExternalImageIds of the photos that show a person."""
    found = rekognition.search_faces_by_image(CollectionId=album, Image={"Bytes": person})
    return {match["Face"]["ExternalImageId"] for match in found["FaceMatches"]}


def by_hand(http: httpx.Client, album: str, parts: bytes, boundary: str = "b") -> httpx.Response:
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return http.post(f"{ALBUMS}/{album}/photos", content=parts, headers=kind)


def part(field: str, name: str | None, data: bytes) -> bytes:
    file = "" if name is None else f'; filename="{name}"'
    return f'--b\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'.encode() + data + b"\r\n"


# Uploads


def test_files_are_taken_one_by_one_and_what_is_no_photo_is_refused_by_itself(
    http: httpx.Client, rekognition: "RekognitionClient", album: str, people: list[bytes]
) -> None:
    small = photos.encode(Image.new("RGB", (31, 40)))
    files = {
        "group.jpg": photos.group(),
        "notes.txt": b"no photo",
        "empty.jpg": b"",
        "tiny.jpg": small,
        "large.jpg": bytes(LARGEST_FILE + 1),
        "empty room.png": photos.without_face("PNG"),
        "../folder\\ana.jpg": people[0],
        "bea": people[1],
    }
    answer = upload(http, album, files)
    assert (answer["accepted"], answer["refused"]) == (4, 4)
    told = {photo["name"]: photo for photo in answer["photos"]}
    assert list(told) == list(files)
    for name, code in (
        ("notes.txt", "InvalidImageFormatException"),
        ("empty.jpg", "InvalidImageFormatException"),
        ("tiny.jpg", "InvalidParameterException"),
        ("large.jpg", "ImageTooLargeException"),
    ):
        assert (told[name]["accepted"], told[name]["code"], told[name]["id"]) == (False, code, None)
        assert told[name]["detail"]
    assert told["tiny.jpg"]["reason"] == "ImageTooSmall"
    accepted = [photo for photo in answer["photos"] if photo["accepted"]]
    assert all(photo["queued"] and photo["code"] is None for photo in accepted)
    now = wait_until_finished(http, album)
    assert counts(now) == (4, 0, 0, 8)
    found = listed(http, album)
    assert set(found) == {"group.jpg", "empty room.png", "ana.jpg", "bea.jpg"}
    assert {photo["id"] for photo in found.values()} == {photo["id"] for photo in accepted}
    assert (found["group.jpg"]["faces"], found["empty room.png"]["faces"]) == (6, 0)
    assert (found["group.jpg"]["width"], found["group.jpg"]["height"]) == (1280, 886)
    assert all(photo["state"] == "done" and photo["finished_at"] for photo in found.values())
    assert sum(map(len, faces_in(rekognition, album).values())) == now["faces"]
    assert names_with(rekognition, album, people[1]) == {"group.jpg", "bea.jpg"}


def test_the_same_file_twice_is_one_photo(http: httpx.Client, album: str, people: list[bytes]) -> None:
    first = upload(http, album, {"a.jpg": people[0], "b.jpg": people[0]})["photos"]
    assert [photo["queued"] for photo in first] == [True, False]
    wait_until_finished(http, album)
    again = upload(http, album, {"c.jpg": people[0], "d.jpg": people[1]})["photos"]
    assert [photo["queued"] for photo in again] == [False, True]
    assert {photo["id"] for photo in (*first, again[0])} == {first[0]["id"]}
    assert counts(wait_until_finished(http, album))[0] == 2
    assert set(listed(http, album)) == {"a.jpg", "d.jpg"}


def test_more_files_than_fit_into_a_request_or_into_memory_are_streamed(
    http: httpx.Client, site: Site, album: str
) -> None:
    large = large_photo(int(2.2 * MIB))
    files = {f"{number}.png": large + bytes([number]) for number in range(4)}
    assert sum(map(len, files.values())) > 2 * 4 * MIB
    answer = upload(http, album, files)
    assert (answer["accepted"], answer["refused"]) == (4, 0)
    assert counts(wait_until_finished(http, album)) == (4, 0, 0, 24)


def test_a_body_over_the_limit_is_refused_and_the_files_before_it_are_kept(
    http: httpx.Client, album: str, people: list[bytes]
) -> None:
    filler = bytes(2 * MIB)
    parts = [part("files", "ana.jpg", people[0])]
    parts += [part("files", f"{number}.jpg", filler) for number in range(7)]
    answer = by_hand(http, album, b"".join(parts) + b"--b--\r\n")
    assert (answer.status_code, answer.json()["code"]) == (413, "RequestEntityTooLargeException")
    assert set(listed(http, album)) == {"ana.jpg"}
    assert counts(wait_until_finished(http, album)) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("body", "status_code", "code"),
    [
        (part("files", "a.jpg", b"a") + b"--b\r\nContent-Disp", 400, "SerializationException"),
        (part("files", "a.jpg", b"a"), 400, "SerializationException"),
        (part("files", "a.jpg", b"a")[:-2], 400, "SerializationException"),
        (b"no multipart", 400, "SerializationException"),
        (b"", 400, "SerializationException"),
        (b"--b--\r\n", 422, "InvalidParameterException"),
        (part("files", None, b"") + b"--b--\r\n", 422, "InvalidParameterException"),
        (part("title", None, b"Gala") + b"--b--\r\n", 422, "InvalidParameterException"),
        (part("document", "a.jpg", b"a") + b"--b--\r\n", 422, "InvalidParameterException"),
        (b"--b\r\n" + b"X" * 20_000 + b": a\r\n\r\na\r\n--b--\r\n", 400, "SerializationException"),
        (b"--b\r\nX: " + b"x" * 20_000 + b"\r\n\r\na\r\n--b--\r\n", 400, "SerializationException"),
    ],
    ids=range(11),
)
def test_a_body_that_is_not_of_photos_is_refused_as_a_whole(
    http: httpx.Client, album: str, body: bytes, status_code: int, code: str
) -> None:
    answer = by_hand(http, album, body)
    assert (answer.status_code, answer.json()["code"]) == (status_code, code)
    assert status(http, album)["total"] == 0


def test_a_body_that_ends_early_keeps_the_photos_that_came_whole(
    http: httpx.Client, album: str, people: list[bytes]
) -> None:
    body = part("photos", "ana.jpg", people[0]) + part("photos", "bea.jpg", people[1])
    answer = by_hand(http, album, body[:-100])
    assert (answer.status_code, answer.json()["code"]) == (400, "SerializationException")
    assert set(listed(http, album)) == {"ana.jpg"}


def test_other_kinds_of_bodies_are_refused(http: httpx.Client, album: str) -> None:
    for kind in ("application/json", "image/jpeg", "multipart/form-data", "multipart/mixed; boundary=b"):
        answer = http.post(f"{ALBUMS}/{album}/photos", content=b"{}", headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (415, "UnsupportedMediaTypeException")


def test_a_refused_upload_is_answered_while_its_body_still_comes(http: httpx.Client, album: str) -> None:
    body = [("files", (f"{number}.jpg", bytes(2 * MIB))) for number in range(5)]
    unknown = http.post(f"{ALBUMS}/album-{uuid4()}/photos", files=body)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "ResourceNotFoundException")
    misspelt = http.post(f"{ALBUMS}/{album}/photos", files=[("fils", file) for _, file in body])
    assert (misspelt.status_code, misspelt.json()["reason"]) == (422, "InvalidField")


def test_recompressed_uploads_are_smaller_jpegs_and_still_found(
    http: httpx.Client, rekognition: "RekognitionClient", people: list[bytes]
) -> None:
    album = made(http, recompress=True)
    wide = photos.encode(photos.opened(photos.group()).resize((2560, 1772)))
    tall = photos.encode(photos.opened(people[0]).resize((1200, 2400)), "WEBP")
    small = photos.encode(photos.opened(people[1]), "PNG")
    answer = upload(
        http, album, {"wide.jpg": wide, "tall.webp": tall, "small.png": small, "bad.jpg": wide[:900]}
    )
    assert (answer["accepted"], answer["refused"]) == (3, 1)
    assert answer["photos"][3]["code"] == "InvalidImageFormatException"
    assert counts(wait_until_finished(http, album))[:2] == (3, 0)
    sizes = {}
    for name, photo in listed(http, album).items():
        original = http.get(photo["original_url"])
        assert original.headers["Content-Type"] == "image/jpeg"
        kept = Image.open(io.BytesIO(original.content))
        assert kept.format == "JPEG"
        assert kept.size == (photo["width"], photo["height"])
        sizes[name] = kept.size
    assert sizes["wide.jpg"] == (1560, 1080)
    assert sizes["tall.webp"] == (960, 1920)
    assert sizes["small.png"] == photos.opened(people[1]).size
    assert names_with(rekognition, album, people[1]) == {"wide.jpg", "small.png"}
    # What came is what tells files apart, not what is kept.
    assert upload(http, album, {"again.jpg": wide})["photos"][0]["queued"] is False


# Sources


def mixed(people: list[bytes]) -> dict[str, bytes]:
    """Files of a source; with the group, 8 faces in 4 photos that can be read."""
    return {
        "group.jpg": photos.group(),
        "day 1/ana.png": people[0],
        "day 1/béa.JPEG": people[1],
        "day 2/empty.webp": photos.without_face("WEBP"),
        "day 2/broken.jpg": people[2][:2000],
        "day 2/text.jpg": b"no photo",
        "day 2/large.jpg": people[2] + bytes(LARGEST_FILE),
        "notes.txt": b"notes",
        "film.mp4": b"film",
        ".DS_Store": b"hidden",
        "day 1/._ana.png": b"hidden",
    }


def confirm_mixed(
    http: httpx.Client, rekognition: "RekognitionClient", album: str, people: list[bytes]
) -> None:
    now = process(http, album)
    assert counts(now) == (4, 2, 3, 8)
    assert (now["percent"], now["total"], now["listing_error"], now["eta_seconds"]) == (100, 9, None, 0)
    reason = {
        "day 2/broken.jpg": "InvalidImageFormatException",
        "day 2/text.jpg": "InvalidImageFormatException",
    }
    assert {photo["name"]: photo["reason"] for photo in now["failures"]} == reason
    found = listed(http, album)
    assert {name: photo["faces"] for name, photo in found.items() if photo["state"] == "done"} == {
        "group.jpg": 6, "day 1/ana.png": 1, "day 1/béa.JPEG": 1, "day 2/empty.webp": 0,
    }  # fmt: skip
    assert {name: photo["reason"] for name, photo in found.items() if photo["state"] == "skipped"} == {
        "notes.txt": "NotAPhoto", "film.mp4": "NotAPhoto", "day 2/large.jpg": "ImageTooLarge",
    }  # fmt: skip
    for name in reason:
        assert found[name]["state"] == "failed"
        assert (found[name]["thumbnail_url"], found[name]["original_url"]) == (None, None)
    assert sum(map(len, faces_in(rekognition, album).values())) == 8
    assert "group.jpg" in names_with(rekognition, album, people[0])
    assert len(names_with(rekognition, album, people[0])) == 2


def test_every_photo_of_an_s3_prefix_is_indexed_and_again_nothing_is_fetched(
    http: httpx.Client, site: Site, rekognition: "RekognitionClient", prefix: str, people: list[bytes]
) -> None:
    for name, data in mixed(people).items():
        site.put(f"{prefix}{name}", data)
    site.put(f"{prefix.rstrip('/')}-other/ana.jpg", people[3])
    album = made(http, source=f"s3://{BUCKET}/{prefix}")
    confirm_mixed(http, rekognition, album, people)
    faces, before = faces_in(rekognition, album), listed(http, album)
    asked = site.proxy.requests
    now = process(http, album)
    assert site.proxy.requests - asked == 1  # the listing
    assert counts(now) == (4, 2, 3, 8)
    assert faces_in(rekognition, album) == faces
    for name, photo in listed(http, album).items():
        assert photo["finished_at"] == before[name]["finished_at"]


def test_every_photo_of_a_folder_is_indexed_and_again_none_is_touched(
    http: httpx.Client, site: Site, rekognition: "RekognitionClient", people: list[bytes]
) -> None:
    folder = site.folder / "gala"
    for name, data in mixed(people).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    album = made(http, source=f"{folder}/")
    confirm_mixed(http, rekognition, album, people)
    faces, before = faces_in(rekognition, album), listed(http, album)
    assert counts(process(http, album)) == (4, 2, 3, 8)
    assert faces_in(rekognition, album) == faces
    assert {name: photo["finished_at"] for name, photo in listed(http, album).items()} == {
        name: photo["finished_at"] for name, photo in before.items()
    }
    # A folder that is gone says nothing of its photos: its disk may not be mounted.
    shutil.move(folder, site.folder / "away")
    os.mkdir(folder)
    now = process(http, album)
    assert (now["listing_error"], counts(now)) == ("SourceEmpty", (4, 2, 3, 8))


@pytest.mark.parametrize(
    "name", ["Screenshot 9.41\u202fAM.png", "\U0001f468\u200d\U0001f469 a\tb.jpg", f"{'ä' * 110}.jpg"]
)
def test_photos_may_have_any_name(http: httpx.Client, site: Site, people: list[bytes], name: str) -> None:
    folder = site.folder / str(uuid4())
    folder.mkdir()
    (folder / name).write_bytes(people[0])
    album = made(http, source=f"{folder}/")
    now = process(http, album)
    assert (counts(now), now["failures"]) == ((1, 0, 0, 1), [])
    assert http.get(listed(http, album)[name]["original_url"]).content == people[0]


def test_a_changed_photo_is_indexed_again_and_its_old_faces_go(
    http: httpx.Client, site: Site, rekognition: "RekognitionClient", prefix: str, people: list[bytes]
) -> None:
    site.put(f"{prefix}a.jpg", people[0])
    site.put(f"{prefix}b.jpg", people[1])
    album = made(http, source=f"s3://{BUCKET}/{prefix}")
    process(http, album)
    before, ids = faces_in(rekognition, album), listed(http, album)
    site.put(f"{prefix}a.jpg", people[2])
    asked = site.proxy.requests
    assert counts(process(http, album)) == (2, 0, 0, 2)
    assert site.proxy.requests - asked == 2  # the listing, and what has changed
    after = faces_in(rekognition, album)
    assert after["b.jpg"] == before["b.jpg"]
    assert set(after["a.jpg"]).isdisjoint(before["a.jpg"])
    assert names_with(rekognition, album, people[0]) == set()
    assert names_with(rekognition, album, people[2]) == {"a.jpg"}
    found = listed(http, album)
    assert found["a.jpg"]["id"] == ids["a.jpg"]["id"]
    assert http.get(found["a.jpg"]["original_url"]).content == people[2]
    # A file that is broken now shows nobody any more, and counts as failed.
    site.put(f"{prefix}a.jpg", people[2][:2000])
    assert counts(process(http, album)) == (1, 1, 0, 1)
    assert set(faces_in(rekognition, album)) == {"b.jpg"}


def test_a_removed_photo_is_skipped_its_faces_go_and_it_may_come_back(
    http: httpx.Client, site: Site, rekognition: "RekognitionClient", prefix: str, people: list[bytes]
) -> None:
    for number, person in enumerate(people[:3]):
        site.put(f"{prefix}{number}.jpg", person)
    album = made(http, source=f"s3://{BUCKET}/{prefix}")
    assert counts(process(http, album)) == (3, 0, 0, 3)
    link = listed(http, album)["1.jpg"]["thumbnail_url"]
    assert http.get(link).status_code == 200
    site.delete(f"{prefix}1.jpg")
    assert counts(process(http, album)) == (2, 0, 1, 2)
    gone = listed(http, album, state="skipped")["1.jpg"]
    assert (gone["reason"], gone["faces"], gone["thumbnail_url"]) == ("PhotoNotFound", 0, None)
    assert http.get(link).status_code == 404
    assert set(faces_in(rekognition, album)) == {"0.jpg", "2.jpg"}
    site.put(f"{prefix}1.jpg", people[1])
    assert counts(process(http, album)) == (3, 0, 0, 3)
    assert names_with(rekognition, album, people[1]) == {"1.jpg"}
    assert http.get(link).status_code == 200


def test_a_deleted_photo_of_a_source_stays_out(
    http: httpx.Client, site: Site, rekognition: "RekognitionClient", prefix: str, people: list[bytes]
) -> None:
    for number, person in enumerate(people[:2]):
        site.put(f"{prefix}{number}.jpg", person)
    album = made(http, source=f"s3://{BUCKET}/{prefix}")
    process(http, album)
    photo = listed(http, album)["0.jpg"]
    assert http.delete(f"{ALBUMS}/{album}/photos/{photo['id']}").json()["accepted"] is True
    for changed in (False, True):
        if changed:
            site.put(f"{prefix}0.jpg", people[2])
        assert counts(process(http, album)) == (1, 0, 1, 1)
        now = listed(http, album)["0.jpg"]
        assert (now["state"], now["reason"], now["faces"]) == ("skipped", "Excluded", 0)
        assert http.post(f"{ALBUMS}/{album}/retry").json()["photos"] == 0
        assert set(faces_in(rekognition, album)) == {"1.jpg"}
        for link in (photo["thumbnail_url"], photo["original_url"]):
            assert http.get(link).status_code == 404


def test_failed_photos_are_retried_when_they_are_mended(
    http: httpx.Client, site: Site, rekognition: "RekognitionClient", prefix: str, people: list[bytes]
) -> None:
    for number in range(3):
        site.put(f"{prefix}{number}.jpg", people[number] if number else b"broken")
    album = made(http, source=f"s3://{BUCKET}/{prefix}")
    now = process(http, album)
    assert (counts(now), now["failures"][0]["attempts"]) == ((2, 1, 0, 2), 1)
    assert http.post(f"{ALBUMS}/{album}/retry").json() == {"accepted": True, "photos": 1}
    assert counts(wait_until_finished(http, album)) == (2, 1, 0, 2)
    site.put(f"{prefix}0.jpg", people[0])
    assert http.post(f"{ALBUMS}/{album}/retry").json()["photos"] == 1
    now = wait_until_finished(http, album)
    assert (counts(now), now["failures"]) == ((3, 0, 0, 3), [])
    assert names_with(rekognition, album, people[0]) == {"0.jpg"}
    assert http.post(f"{ALBUMS}/{album}/retry").json()["photos"] == 0


def test_a_storage_that_fails_for_a_moment_fails_no_photo(
    http: httpx.Client, site: Site, prefix: str, people: list[bytes]
) -> None:
    for number, person in enumerate(people):
        site.put(f"{prefix}{number}.jpg", person)
    album = made(http, source=f"s3://{BUCKET}/{prefix}")
    faults = site.proxy.faults
    site.proxy.share = 0.5
    try:
        now = process(http, album)
    finally:
        site.proxy.share = 0
    assert (counts(now), now["listing_error"]) == ((6, 0, 0, 6), None)
    assert site.proxy.faults > faults


# How far an album is


def test_events_tell_of_the_way_and_end_when_all_is_done(
    http: httpx.Client, album: str, people: list[bytes]
) -> None:
    files = {f"{number}.jpg": person for number, person in enumerate(people)}
    files["group.jpg"] = photos.group()
    upload(http, album, {**files, "broken.jpg": people[0][:2000]})
    with http.stream("GET", f"{ALBUMS}/{album}/events") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line]
    assert set(lines[::2]) == {"event: status"}
    told = [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert told[0]["finished"] is False
    assert [one["finished"] for one in told[1:]] == [False] * (len(told) - 2) + [True]
    percents = [one["percent"] for one in told]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    for one in told:
        in_all = sum(one[state] for state in ("pending", "processing", "done", "failed", "skipped"))
        assert in_all == one["total"] == 8
    assert counts(told[-1]) == (7, 1, 0, 12)
    assert told[-1]["failures"][0]["name"] == "broken.jpg"
    # One who comes late hears the end at once.
    late = http.get(f"{ALBUMS}/{album}/events").text
    assert [json.loads(line[6:])["finished"] for line in late.splitlines() if line.startswith("data: ")] == [
        True
    ]


def test_photos_are_paged_by_state_in_the_order_of_their_ids(
    http: httpx.Client, album: str, people: list[bytes]
) -> None:
    upload(http, album, {f"{number}.jpg": person for number, person in enumerate(people[:5])})
    upload(http, album, {f"broken {number}.jpg": people[number][:2000] for number in range(2)})
    assert counts(wait_until_finished(http, album)) == (5, 2, 0, 5)
    place = f"{ALBUMS}/{album}/photos"
    for state, number in (
        ("done", 5),
        ("failed", 2),
        ("skipped", 0),
        ("pending", 0),
        ("processing", 0),
        (None, 7),
    ):
        found: list[Any] = []
        asked = {"limit": "2", **({"state": state} if state else {})}
        page = http.get(place, params=asked).json()
        while True:
            found += page["photos"]
            assert page["count"] == len(page["photos"]) <= 2
            if page["next_token"] is None:
                break
            page = http.get(place, params={**asked, "next_token": page["next_token"]}).json()
        ids = [photo["id"] for photo in found]
        assert (len(ids), ids) == (number, sorted(set(ids)))
        assert state is None or {photo["state"] for photo in found} <= {state}
    assert http.get(place, params={"state": "lost"}).status_code == 422
    other = http.get(f"{ALBUMS}/{made(http)}/photos", params={"next_token": token_of(http, place)})
    assert (other.status_code, other.json()["code"]) == (400, "InvalidPaginationTokenException")


def token_of(http: httpx.Client, place: str) -> str:
    return str(http.get(place, params={"limit": "1"}).json()["next_token"])


def test_a_photo_shows_its_faces(http: httpx.Client, rekognition: "RekognitionClient", album: str) -> None:
    (sent,) = upload(http, album, {"group.jpg": photos.group()})["photos"]
    wait_until_finished(http, album)
    photo = http.get(f"{ALBUMS}/{album}/photos/{sent['id']}").json()
    assert (photo["name"], photo["faces"], len(photo["found"])) == ("group.jpg", 6, 6)
    assert sorted(face["face_id"] for face in photo["found"]) == sorted(
        faces_in(rekognition, album)["group.jpg"]
    )
    sizes = [face["box"]["width"] * face["box"]["height"] for face in photo["found"]]
    assert sizes == sorted(sizes, reverse=True)
    assert all(0 < face["box"]["width"] < 0.5 and face["guests"] == [] for face in photo["found"])
    for wrong, code in ((uuid4(), 404), ("no-uuid", 422)):
        assert http.get(f"{ALBUMS}/{album}/photos/{wrong}").status_code == code
    other = made(http)
    assert http.get(f"{ALBUMS}/{other}/photos/{sent['id']}").status_code == 404
    assert http.delete(f"{ALBUMS}/{other}/photos/{sent['id']}").status_code == 404


def test_links_lead_to_the_file_and_to_a_small_webp_until_the_photo_is_deleted(
    http: httpx.Client, site: Site, rekognition: "RekognitionClient", album: str, people: list[bytes]
) -> None:
    (sent,) = upload(http, album, {"gäste 1.jpg": photos.group()})["photos"]
    assert http.get(listed(http, album)["gäste 1.jpg"]["original_url"]).content == photos.group()
    wait_until_finished(http, album)
    photo = listed(http, album)["gäste 1.jpg"]
    with httpx.Client() as nobody:  # without a key
        original = nobody.get(photo["original_url"])
        assert original.content == photos.group()
        assert original.headers["Content-Type"] == "image/jpeg"
        assert "g%C3%A4ste%201.jpg" in original.headers["Content-Disposition"]
        thumbnail = nobody.get(photo["thumbnail_url"])
        assert thumbnail.headers["Content-Type"] == "image/webp"
        for answer in (original, thumbnail):
            assert answer.headers["Cache-Control"].startswith("private")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        small = Image.open(io.BytesIO(thumbnail.content))
        assert (small.format, small.size) == ("WEBP", (480, 332))
        begin, token = photo["original_url"].rsplit("/", 1)
        head, claims, signature = token.split(".")
        thumbnail_claims = photo["thumbnail_url"].rsplit("/", 1)[1].split(".")[1]
        for forged in (
            f"{head}.{thumbnail_claims}.{signature}",
            f"{head}.{claims}.",
            f"{head}.{claims}.{signature[::-1]}",
            token[:-8],
            "forged",
            "%00",
        ):
            answer = nobody.get(f"{begin}/{forged}")
            assert (answer.status_code, answer.json()["reason"]) == (404, "LinkNotFound")
    kept = [path for path in site.stored.rglob("*") if path.is_file() and sent["id"] in path.name]
    assert len(kept) == 1
    assert http.delete(f"{ALBUMS}/{album}/photos/{sent['id']}").status_code == 200
    for link in (photo["original_url"], photo["thumbnail_url"]):
        assert http.get(link).status_code == 404
    assert listed(http, album) == {}
    assert faces_in(rekognition, album) == {}
    assert status(http, album)["total"] == 0
    assert not kept[0].exists()
    assert list(kept[0].parents[1].rglob("*.jpg")) == []
    assert http.delete(f"{ALBUMS}/{album}/photos/{sent['id']}").status_code == 404
    # Deleted is not excluded: who sends it again wants it.
    assert upload(http, album, {"again.jpg": photos.group()})["photos"][0]["queued"] is True
    assert counts(wait_until_finished(http, album)) == (1, 0, 0, 6)


def test_a_photo_that_is_told_of_anew_while_a_worker_commits_it_is_indexed_once_more(
    http: httpx.Client, site: Site, prefix: str, people: list[bytes]
) -> None:
    """What enters photos locks a photo and then its job; a worker must not wait the other way round."""
    site.put(f"{prefix}a.jpg", people[0])
    album = made(http, source=f"s3://{BUCKET}/{prefix}")
    process(http, album)
    photo_id = listed(http, album)["a.jpg"]["id"]
    site.put(f"{prefix}a.jpg", people[1])
    queued = """
        INSERT INTO jobs (lane, kind, subject, account_id, collection_id)
        SELECT 'photos ' || face_model_version, 'photo', %s, account_id, collection_id
        FROM collections WHERE collection_id = %s
        ON CONFLICT (kind, subject) DO UPDATE SET attempts = 0, lease = NULL, leased_until = NULL
    """
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%photos%'"
    with psycopg.connect(site.database) as entering, psycopg.connect(site.database, autocommit=True) as look:
        entering.execute("SELECT 1 FROM photos WHERE photo_id = %s FOR UPDATE", (photo_id,))
        look.execute(queued, (photo_id, album))
        wait_for(lambda: look.execute(waiting).fetchall(), bool)
        site.put(f"{prefix}a.jpg", people[2])
        entering.execute("UPDATE photos SET state = 'pending' WHERE photo_id = %s", (photo_id,))
        entering.execute(queued, (photo_id, album))
    assert counts(wait_until_finished(http, album)) == (1, 0, 0, 1)
    assert http.get(listed(http, album)["a.jpg"]["original_url"]).content == people[2]
    assert "waits for the database" not in site.service.log
