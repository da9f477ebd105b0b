"""Albums: made, changed, listed and erased with all that belongs to them; and who may."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from app.measure.s3_server import BUCKET, S3Server, s3_server
from app.measure.service import RunningService, running
from app.store.embedded import EmbeddedPostgres
from tests.api.albums import ALBUMS, crops, listed, made, upload, wait_for, wait_until_finished
from tests.api.signing import KEY_ID, SECRET
from tests.api.test_access import OTHER, SETTINGS, client_of
from tests.api.test_access import made as made_key

ADMIN = {"X-API-Key": f"{KEY_ID}:{SECRET}"}
TABLES = {
    "collections": "collection_id", "faces": "collection_id", "users": "collection_id",
    "albums": "album_id", "photos": "album_id", "album_counts": "album_id", "photo_matches": "album_id",
    "jobs": "collection_id",
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    """A service that asks for keys, with a worker, its storage and its database."""

    service: RunningService
    s3: S3Server
    database: str
    keys: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False)

    def files(self) -> list[str]:
        """What the service keeps in its storage."""
        found = self.s3.client().list_objects_v2(Bucket=BUCKET, Prefix="own/")
        return [entry["Key"] for entry in found.get("Contents", [])]

    def rows(self, album: str) -> dict[str, int]:
        """How many rows are left of an album, by table."""
        with psycopg.connect(self.database) as connection:
            return {
                table: connection.execute(
                    f"SELECT count(*) FROM {table} WHERE {column} = %s", (album,)
                ).fetchall()[0][0]
                for table, column in TABLES.items()
            }

    def client(self, *arguments: str) -> httpx.Client:
        """Somebody with such a key."""
        if arguments not in self.keys:  # each takes a process of its own
            self.keys[arguments] = ":".join(made_key(self.service, *arguments))
        key = self.keys[arguments]
        return httpx.Client(base_url=self.service.url, headers={"X-API-Key": key}, timeout=60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # The service's own DATA_DIR: `python -m app keys` looks for the database there.
    with s3_server() as s3:
        settings = s3.settings(S3_ALLOWED="photos/gala/", STORAGE_URL="s3://photos/own")
        settings |= {"FOLDERS_ALLOWED": "/photos", "GUEST_CALLS_A_MINUTE": "1000"}
        with running(**SETTINGS, **settings, WORKERS="1") as service:
            postgres = EmbeddedPostgres(service.log_path.parent)
            address = postgres.start()
            try:
                yield Site(service, s3, address.replace("+psycopg", ""))
            finally:
                postgres.stop()
            assert "Traceback" not in service.log


@pytest.fixture(scope="module")
def http(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.service.url, headers=ADMIN, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def people(http: httpx.Client) -> list[bytes]:
    return crops(http)


@pytest.fixture
def album(http: httpx.Client) -> str:
    return made(http)


def test_an_album_is_as_it_was_asked_for(http: httpx.Client) -> None:
    asked = {
        "id": f"gala_{uuid4()}",
        "title": "Gála 2026",
        "source": "s3://photos/gala/2026/",
        "threshold": 92.5,
        "retention_days": 30,
        "event_code": f"GALA-{uuid4()}".upper(),
        "recompress": True,
    }
    created = http.post(ALBUMS, json=asked)
    assert created.status_code == 201
    found = created.json()
    assert {name: found[name] for name in asked} == asked
    assert found["collection_id"] == asked["id"]
    assert http.get(f"{ALBUMS}/{asked['id']}").json() == found
    status = http.get(f"{ALBUMS}/{asked['id']}/status").json()
    assert (status["total"], status["finished"], status["listing_error"]) == (0, True, None)


def test_a_plain_album_has_the_settings_of_the_service(http: httpx.Client, album: str) -> None:
    found = http.get(f"{ALBUMS}/{album}").json()
    assert (found["title"], found["source"], found["event_code"]) == (None, None, None)
    assert (found["threshold"], found["retention_days"], found["recompress"]) == (80, None, False)


def test_an_album_is_a_collection_and_a_collection_is_no_album(
    site: Site, http: httpx.Client, album: str
) -> None:
    rekognition = client_of(site.service, KEY_ID, SECRET)
    assert rekognition.describe_collection(CollectionId=album)["FaceCount"] == 0
    plain = f"plain-{uuid4()}"
    rekognition.create_collection(CollectionId=plain)
    for path in ("", "/status", "/photos", "/events"):
        answer = http.get(f"{ALBUMS}/{plain}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "ResourceNotFoundException")
    assert http.delete(f"{ALBUMS}/{plain}").status_code == 404
    rekognition.describe_collection(CollectionId=plain)
    for taken in (plain, album):
        answer = http.post(ALBUMS, json={"id": taken, "event_code": f"code-{uuid4()}"})
        assert (answer.status_code, answer.json()["code"]) == (409, "ResourceAlreadyExistsException")
        assert answer.json()["reason"] == "AlbumExists"


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"id": "a b"},
        {"id": "ä"},
        {"id": "a/b"},
        {"id": "a" * 256},
        {"id": 7},
        {"title": "a" * 256},
        {"threshold": 0.35},
        {"threshold": 100.1},
        {"threshold": "high"},
        {"threshold": None},
        {"retention_days": 0},
        {"retention_days": 36_501},
        {"retention_days": 1.5},
        {"event_code": "short"},
        {"event_code": "with space"},
        {"event_code": "gäste2026"},
        {"event_code": "a" * 65},
        {"source": "photos/gala"},
        {"source": "ftp://photos/gala"},
        {"source": "https://photos.example/gala"},
        {"source": "s3://"},
        {"source": "s3://ab/"},
        {"source": "file://photos"},
        {"source": "a" * 1025},
        {"recompress": "perhaps"},
        {"colour": "red"},
    ],
    ids=repr,
)
def test_bad_fields_are_refused_by_name_and_nothing_is_made(
    http: httpx.Client, fields: dict[str, Any]
) -> None:
    album = f"bad-{uuid4()}"
    answer = http.post(ALBUMS, json={"id": album, **fields})
    assert (answer.status_code, answer.json()["code"]) == (422, "InvalidParameterException")
    assert answer.json()["reason"] == "InvalidField"
    (name,) = fields
    assert name in answer.json()["detail"]
    assert http.get(f"{ALBUMS}/{album}").status_code == 404


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("s3://photos/other/", "InvalidS3ObjectException"),
        ("s3://photos/gal", "InvalidS3ObjectException"),
        ("s3://photos", "InvalidS3ObjectException"),
        ("s3://photos/gala/../own/", "InvalidS3ObjectException"),
        ("s3://secret/gala/", "InvalidS3ObjectException"),
        ("/etc", "InvalidFolderObjectException"),
        ("/photos-of-others", "InvalidFolderObjectException"),
        ("/photos/../etc", "InvalidFolderObjectException"),
        ("file:///etc", "InvalidFolderObjectException"),
        ("supabase:gala/", "InvalidSupabaseObjectException"),
    ],
)
def test_sources_that_the_operator_does_not_allow_are_refused(
    http: httpx.Client, source: str, code: str
) -> None:
    album = f"source-{uuid4()}"
    answer = http.post(ALBUMS, json={"id": album, "source": source})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert http.get(f"{ALBUMS}/{album}").status_code == 404


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("s3://photos/gala/", "s3://photos/gala/"),
        ("/photos/gala", "file:///photos/gala"),
        ("file:///photos", "file:///photos"),
    ],
)
def test_allowed_sources_are_kept(http: httpx.Client, source: str, kept: str) -> None:
    album = made(http, source=source)
    assert http.get(f"{ALBUMS}/{album}").json()["source"] == kept


def test_an_allowed_place_is_the_default_accounts_alone(site: Site) -> None:
    with site.client("--account", OTHER, "--role", "admin") as other:
        for source in ("s3://photos/gala/", "/photos"):
            answer = other.post(ALBUMS, json={"id": f"album-{uuid4()}", "source": source})
            assert answer.status_code == 422


def test_changes_leave_other_fields_and_null_takes_away(http: httpx.Client) -> None:
    code = f"CODE-{uuid4()}".upper()
    album = made(http, title="before", retention_days=3, event_code=code, threshold=85)
    before = http.get(f"{ALBUMS}/{album}").json()
    changed = http.patch(f"{ALBUMS}/{album}", json={"title": "after", "threshold": 99, "recompress": True})
    assert changed.status_code == 200
    assert changed.json() == {**before, "title": "after", "threshold": 99, "recompress": True}
    assert http.patch(f"{ALBUMS}/{album}", json={}).json() == changed.json()
    emptied = {"title": None, "retention_days": None, "event_code": None}
    assert http.patch(f"{ALBUMS}/{album}", json=emptied).json() == {**changed.json(), **emptied}
    for fields in (
        {"threshold": None}, {"recompress": None}, {"threshold": 0}, {"retention_days": 0},
        {"event_code": "short"}, {"source": "s3://photos/gala/"}, {"id": "other"}, {"title": "a" * 256},
    ):  # fmt: skip
        answer = http.patch(f"{ALBUMS}/{album}", json=fields)
        assert (answer.status_code, answer.json()["reason"]) == (422, "InvalidField"), fields
    assert http.get(f"{ALBUMS}/{album}").json() == {**changed.json(), **emptied}
    assert http.patch(f"{ALBUMS}/album-{uuid4()}", json={"title": "a"}).status_code == 404


def test_event_codes_are_made_up_taken_by_one_album_and_closed(http: httpx.Client) -> None:
    one, other = made(http, event_code="auto"), made(http, event_code="auto")
    first = http.get(f"{ALBUMS}/{one}").json()["event_code"]
    second = http.get(f"{ALBUMS}/{other}").json()["event_code"]
    assert first != second
    assert len(first) == len(second) == 10
    assert http.post(f"{ALBUMS}/join", json={"event_code": first}).json()["album_id"] == one
    taken = http.patch(f"{ALBUMS}/{other}", json={"event_code": first})
    assert (taken.status_code, taken.json()["reason"]) == (409, "EventCodeTaken")
    name = f"album-{uuid4()}"
    taken = http.post(ALBUMS, json={"id": name, "event_code": first})
    assert (taken.status_code, taken.json()["reason"]) == (409, "EventCodeTaken")
    assert http.get(f"{ALBUMS}/{name}").status_code == 404
    assert http.get(f"/api/v1/collections/{name}").status_code == 404
    # Its own again is no conflict; another in its place closes the first.
    assert http.patch(f"{ALBUMS}/{one}", json={"event_code": first}).status_code == 200
    assert http.patch(f"{ALBUMS}/{one}", json={"event_code": "auto"}).json()["event_code"] != first
    closed = http.post(f"{ALBUMS}/join", json={"event_code": first})
    assert (closed.status_code, closed.json()["reason"]) == (403, "WrongEventCode")
    assert http.patch(f"{ALBUMS}/{other}", json={"event_code": first}).json()["event_code"] == first
    http.patch(f"{ALBUMS}/{other}", json={"event_code": None}).raise_for_status()
    assert http.post(f"{ALBUMS}/join", json={"event_code": first}).status_code == 403


def test_albums_are_listed_page_by_page_in_the_order_of_their_ids(site: Site) -> None:
    beginning = f"page-{uuid4()}"
    with site.client("--role", "admin", "--collections", f"{beginning}*") as http:
        names = [f"{beginning}.{name}" for name in ("B", "Z", "_", "a", "b", "z-9")]
        for name in reversed(names):
            http.post(ALBUMS, json={"id": name}).raise_for_status()
        http.post("/api/v1/collections", json={"collection_id": f"{beginning}.c"}).raise_for_status()
        found: list[str] = []
        token: str | None = None
        while True:
            page = http.get(ALBUMS, params={"limit": "2", **({"next_token": token} if token else {})}).json()
            assert page["count"] == len(page["albums"]) == 2
            found += [album["id"] for album in page["albums"]]
            token = page["next_token"]
            if token is None:
                break
            if len(found) == 2:  # a token outlives the album that it was made after
                http.delete(f"{ALBUMS}/{found[-1]}").raise_for_status()
        assert found == names
        for wrong in ({"limit": "0"}, {"limit": "1001"}, {"page": "1"}):
            assert http.get(ALBUMS, params=wrong).status_code == 422
        refused = http.get(ALBUMS, params={"next_token": "forged"})
        assert (refused.status_code, refused.json()["code"]) == (400, "InvalidPaginationTokenException")
        outside = http.post(ALBUMS, json={"id": "elsewhere"})
        assert (outside.status_code, outside.json()["code"]) == (403, "AccessDeniedException")


def test_another_account_sees_nothing_of_an_album(site: Site, http: httpx.Client, album: str) -> None:
    with site.client("--account", OTHER, "--role", "admin") as other:
        for answer in (
            other.get(f"{ALBUMS}/{album}"),
            other.get(f"{ALBUMS}/{album}/status"),
            other.get(f"{ALBUMS}/{album}/photos"),
            other.patch(f"{ALBUMS}/{album}", json={"title": "mine"}),
            other.post(f"{ALBUMS}/{album}/photos", files=[("files", ("a.jpg", b"a"))]),
            other.post(f"{ALBUMS}/{album}/process"),
            other.post(f"{ALBUMS}/{album}/retry"),
            other.delete(f"{ALBUMS}/{album}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "ResourceNotFoundException")
        assert other.get(ALBUMS).json()["albums"] == []
        # One of the same id is another album.
        other.post(ALBUMS, json={"id": album, "title": "theirs"}).raise_for_status()
        assert http.get(f"{ALBUMS}/{album}").json()["title"] is None
        other.delete(f"{ALBUMS}/{album}").raise_for_status()
        assert http.get(f"{ALBUMS}/{album}").status_code == 200


@pytest.mark.parametrize("door", ["rest", "rekognition"])
def test_deleting_erases_vectors_results_and_files_and_no_other_albums(
    site: Site, http: httpx.Client, people: list[bytes], door: str
) -> None:
    kept, gone = made(http), made(http)
    upload(http, kept, {"kept.jpg": people[0]})
    upload(http, gone, {"one.jpg": people[0], "two.jpg": people[1]})
    for album in (kept, gone):
        wait_until_finished(http, album)
    enrolled = http.post(
        f"{ALBUMS}/{gone}/guests", files={"image": ("me.jpg", people[1])}, data={"id": "bea"}
    ).json()
    assert enrolled["photos"] == 1
    rows = site.rows(gone)
    assert (rows["faces"] >= 2, rows["photos"], rows["photo_matches"]) == (True, 2, 1)
    links = [photo["original_url"] for photo in listed(http, gone).values()]
    assert [httpx.get(link).status_code for link in links] == [200, 200]
    before = len(site.files())
    if door == "rest":
        assert http.delete(f"{ALBUMS}/{gone}").json()["accepted"] is True
    else:
        client_of(site.service, KEY_ID, SECRET).delete_collection(CollectionId=gone)
    assert site.rows(gone) == dict.fromkeys(TABLES, 0)
    assert http.get(f"{ALBUMS}/{gone}").status_code == 404
    assert [httpx.get(link).status_code for link in links] == [404, 404]
    left = wait_for(site.files, lambda files: len(files) <= before - 4)
    assert len(left) == before - 4
    (photo,) = listed(http, kept).values()
    for link in (photo["original_url"], photo["thumbnail_url"]):
        assert httpx.get(link).status_code == 200
    # An album of the same id begins anew.
    http.post(ALBUMS, json={"id": gone}).raise_for_status()
    assert http.get(f"{ALBUMS}/{gone}/status").json()["total"] == 0


def test_who_may_do_what_with_an_album(site: Site, http: httpx.Client, people: list[bytes]) -> None:
    album = made(http, source="s3://photos/gala/")
    (sent,) = upload(http, album, {"a.jpg": people[0]})["photos"]
    files = [("files", ("b.jpg", people[1]))]
    place = f"{ALBUMS}/{album}"
    with site.client() as reader, site.client("--role", "write") as writer, httpx.Client(
        base_url=site.service.url, timeout=60
    ) as nobody:  # fmt: skip
        for client, status in ((nobody, 401), (reader, 403), (writer, 403)):
            for answer in (
                client.post(ALBUMS, json={"id": f"album-{uuid4()}"}),
                client.patch(place, json={"title": "a"}),
                client.delete(place),
            ):
                assert answer.status_code == status
        for client, status in ((nobody, 401), (reader, 403)):
            for answer in (
                client.post(f"{place}/photos", files=files),
                client.post(f"{place}/process"),
                client.post(f"{place}/retry"),
                client.delete(f"{place}/photos/{sent['id']}"),
            ):
                assert answer.status_code == status
        for path in ("", "/status", "/events", "/photos", f"/photos/{sent['id']}"):
            assert nobody.get(f"{place}{path}").status_code == 401
            if path != "/events":
                assert reader.get(f"{place}{path}").status_code == 200
        assert nobody.get(ALBUMS).status_code == 401
        assert album in [one["id"] for one in reader.get(ALBUMS, params={"limit": "1000"}).json()["albums"]]
        assert http.get(place).json()["title"] is None
        assert [photo["name"] for photo in listed(http, album).values()] == ["a.jpg"]

        assert writer.post(f"{place}/photos", files=files).json()["accepted"] == 1
        assert writer.post(f"{place}/process").status_code == 202
        assert writer.post(f"{place}/retry").status_code == 202
        assert writer.delete(f"{place}/photos/{sent['id']}").status_code == 200
        assert [photo["name"] for photo in listed(http, album).values()] == ["b.jpg"]


def test_a_source_without_photos_is_told_as_an_error_of_the_listing(http: httpx.Client) -> None:
    album = made(http, source="s3://photos/gala/nothing/")
    assert http.post(f"{ALBUMS}/{album}/process").json()["listing"] is True
    status = wait_until_finished(http, album)
    assert (status["listing_error"], status["total"]) == ("SourceEmpty", 0)
    folder = made(http, source=str(Path("/photos/not-there")))
    http.post(f"{ALBUMS}/{folder}/process").raise_for_status()
    listing = http.get(f"{ALBUMS}/{folder}/status").json()
    assert listing["listing"] is True  # a disk that is not mounted is waited for


def test_an_album_of_uploads_has_nothing_to_list(http: httpx.Client, album: str) -> None:
    answer = http.post(f"{ALBUMS}/{album}/process")
    assert (answer.status_code, answer.json()["reason"]) == (422, "NoSource")
