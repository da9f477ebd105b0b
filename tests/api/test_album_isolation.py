"""Two accounts, two photographers, guests of their albums: nothing crosses over by any door, nor is logged.

The walk goes through every operation of /openapi.json, so that it covers those that are still to come.
"""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest

from app.measure.service import RunningService, running
from app.store.embedded import EmbeddedPostgres
from tests import photos
from tests.api.albums import ALBUMS, crops, upload, wait_until_finished
from tests.api.signing import KEY_ID, SECRET
from tests.api.test_access import ACCOUNT, OTHER, SETTINGS, client_of, made, walk
from tests.api.test_tokens import ISSUER, bearer, token
from tests.api.test_tokens import SECRET as JWT_SECRET

ADMIN = {"X-API-Key": f"{KEY_ID}:{SECRET}"}
CALLS_A_MINUTE = 150
# Whoever asks; all other operations must ask for a key.
PUBLIC = {"Live", "Health", "Ready", "JoinAlbum", "OpenLink"}
# What a key that may read may do with POST.
READING = {
    "DetectFaces", "CompareTwoImages", "SearchFaces", "SearchAlbum", "IdentifyFace", "VerifyFace",
    "CompareFaces",
}  # fmt: skip
REFUSED = {401, 403, 404}
Headers = Mapping[str, str]


def photographer(subject: str, **claims: Any) -> dict[str, str]:
    return bearer(token(sub=subject, app_metadata={"face_role": "write"}, **claims))


@dataclass
class Album:
    """An album with photos and a guest, and what nobody else may ever read."""

    owner: Headers
    album_id: str
    title: str
    code: str
    guest: Headers = field(default_factory=dict)
    guest_id: str = ""
    photo_id: str = ""
    link: str = ""
    secrets: list[str] = field(default_factory=list)


@dataclass
class World:
    service: RunningService
    http: httpx.Client
    database: str
    people: list[bytes]
    one: Album  # of a photographer
    two: Album  # of another photographer of the same account
    other: Album  # of another account
    job_id: str
    reader: Headers
    elsewhere: Headers
    same_album: Headers  # another guest of `one`
    other_key: tuple[str, str]
    operations: list[tuple[str, str, Any]]

    def rows(self, account: str, album: str) -> list[Any]:
        """All that the database holds of an album, but for what reading changes."""
        with psycopg.connect(self.database) as connection:
            return [
                connection.execute(
                    f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t"
                    f" WHERE account_id = %s AND {column} = %s",
                    (account, album),
                ).fetchone()
                for table, column in (
                    ("collections", "collection_id"), ("albums", "album_id"), ("faces", "collection_id"),
                    ("users", "collection_id"), ("photos", "album_id"), ("photo_matches", "album_id"),
                    ("jobs", "collection_id"), ("index_jobs", "collection_id"),
                )
            ]  # fmt: skip

    def state(self) -> list[Any]:
        return [
            self.rows(ACCOUNT, self.one.album_id),
            self.rows(ACCOUNT, self.two.album_id),
            self.rows(OTHER, self.other.album_id),
        ]

    def secret(self, name: str) -> bytes:
        """What the service signs with."""
        with psycopg.connect(self.database) as connection:
            row = connection.execute("SELECT value FROM service_secrets WHERE name = %s", (name,)).fetchone()
            assert row is not None
            return bytes(row[0])


@contextmanager
def acting(http: httpx.Client, who: Headers) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=http.base_url, headers=dict(who), timeout=60) as client:
        yield client


def new_album(http: httpx.Client, owner: Headers, name: str, people: list[bytes]) -> Album:
    album = Album(owner, f"{name}-{uuid4()}", f"Title of {name}", f"CODE-OF-{name.upper()}")
    asked = {"id": album.album_id, "title": album.title, "event_code": album.code}
    http.post(ALBUMS, json=asked, headers=owner).raise_for_status()
    files = {f"file-of-{name}-{number}.jpg": person for number, person in enumerate(people)}
    with acting(http, owner) as own:
        album.photo_id = upload(own, album.album_id, files)["photos"][0]["id"]
        wait_until_finished(own, album.album_id)
    joined = http.post(f"{ALBUMS}/join", json={"event_code": album.code}).raise_for_status().json()
    assert (joined["album_id"], joined["title"]) == (album.album_id, album.title)
    album.guest, album.guest_id = bearer(joined["token"]), joined["guest_id"]
    enrol(http, album, people[0], f"Name of {name}")
    photo = http.get(f"{ALBUMS}/{album.album_id}/photos/{album.photo_id}", headers=owner).json()
    album.link = photo["original_url"]
    album.secrets = [album.title, album.code, f"file-of-{name}", f"Name of {name}"]
    return album


def enrol(http: httpx.Client, album: Album, selfie: bytes, name: str) -> Any:
    sent = {"image": ("selfie.jpg", selfie)}
    answer = http.post(
        f"{ALBUMS}/{album.album_id}/guests", files=sent, data={"name": name}, headers=album.guest
    )
    return answer.raise_for_status().json()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    settings = {
        "SUPABASE_JWT_SECRET": JWT_SECRET,
        "JWT_ISSUER": ISSUER,
        "WORKERS": "1",
        "LOG_LEVEL": "DEBUG",
        "GUEST_CALLS_A_MINUTE": str(CALLS_A_MINUTE),
    }
    with running(**SETTINGS, **settings) as service, httpx.Client(base_url=service.url, timeout=60) as http:
        postgres = EmbeddedPostgres(service.log_path.parent)
        address = postgres.start().replace("+psycopg", "")
        try:
            with ThreadPoolExecutor(3) as pool, acting(http, ADMIN) as admin:
                wanted = [
                    ("--account", OTHER, "--role", "admin"),
                    ("--role", "read"),
                    ("--role", "admin", "--collections", "elsewhere-*"),
                ]
                keys = list(pool.map(lambda arguments: made(service, *arguments), wanted))
                people = crops(admin)[:2]
            other_key = keys[0]
            one = new_album(http, photographer("photographer-one"), "one", people)
            two = new_album(http, photographer("photographer-two"), "two", people)
            other = new_album(http, {"X-API-Key": ":".join(other_key)}, "other", people)
            again = http.post(f"{ALBUMS}/join", json={"event_code": one.code}).json()
            job = http.post(
                "/index",
                params={"collection": one.album_id},
                json={"photos": [{"member_id": "m", "image_url": "http://127.0.0.1:1/x.jpg"}]},
                headers=one.owner,
            )
            job_id = job.raise_for_status().json()["job_id"]
            deadline = time.monotonic() + 240
            while not http.get(f"/index/{job_id}", headers=one.owner).json()["finished"]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            operations = [
                (method.upper(), path, operation)
                for path, methods in http.get("/openapi.json").json()["paths"].items()
                for method, operation in methods.items()
            ]
            yield World(
                service, http, address, people, one, two, other, job_id,
                {"X-API-Key": ":".join(keys[1])}, {"X-API-Key": ":".join(keys[2])},
                bearer(again["token"]), other_key, operations,
            )  # fmt: skip
        finally:
            postgres.stop()
        assert "Traceback" not in service.log


def is_aimed(path: str, operation: Any) -> bool:
    """Whether an operation is about one album."""
    named = {"album_id", "collection_id", "photo_id", "job_id", "guest_id", "member_id"}
    return any(
        parameter["name"] in named or parameter["name"] == "collection"
        for parameter in operation.get("parameters", [])
    )


def call(world: World, album: Album, who: Headers, method: str, path: str, operation: Any) -> httpx.Response:
    """Call an operation about an album as it is meant to be called."""
    values = {
        "album_id": album.album_id,
        "collection_id": album.album_id,
        "photo_id": album.photo_id,
        "guest_id": album.guest_id,
        "member_id": album.guest_id,
        "job_id": world.job_id,
        "token": album.link.rsplit("/", 1)[-1],
    }
    params = {}
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(values[parameter["name"]], safe=""))
        elif parameter["name"] == "collection":
            params["collection"] = album.album_id
        elif parameter["name"] == "guest":
            params["guest"] = album.guest_id
    sent: dict[str, Any] = {}
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        sent["json"] = {}
        for name, value in content["application/json"]["example"].items():
            if name.endswith(("image_url", "supabase_path")):
                prefix = name.removesuffix("image_url").removesuffix("supabase_path")
                sent["json"][f"{prefix}image_base64"] = base64.b64encode(world.people[0]).decode()
            elif name in ("id", "member_id"):
                sent["json"][name] = album.guest_id if is_aimed(path, operation) else f"walk-{uuid4()}"
            elif name == "collection_id":
                sent["json"][name] = f"walk-{uuid4()}"
            elif name == "event_code":
                sent["json"][name] = "auto"
            elif name not in ("source", "prefix", "member_id_from"):
                sent["json"][name] = value
    elif "multipart/form-data" in content:
        sent["files"] = [("files", ("walk.jpg", world.people[1]))]
    return world.http.request(method, path, params=params, headers=dict(who), **sent)


def forged(shown: Headers, **changes: Any) -> str:
    """A token with another payload and its old signature."""
    head, payload, signature = shown["Authorization"].removeprefix("Bearer ").split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) | changes
    packed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{packed}.{signature}"


def claims_of(shown: Headers) -> dict[str, Any]:
    return jwt.decode(shown["Authorization"].removeprefix("Bearer "), options={"verify_signature": False})


def invalid(world: World) -> dict[str, Headers]:
    """Credentials that are good for nothing at all."""
    one, two = world.one, world.two
    typ = {"typ": "guest+jwt"}
    mine = claims_of(one.guest)
    guests, links = world.secret("guests"), world.secret("links")
    return {
        "nobody": {},
        "wrong key": {"X-API-Key": f"{KEY_ID}:{SECRET}x"},
        "altered album": bearer(forged(two.guest, album=mine["album"])),
        "altered guest": bearer(forged(world.same_album, sub=one.guest_id)),
        "altered expiry": bearer(forged(one.guest, exp=int(time.time()) + 10**6)),
        "alg none": bearer(jwt.encode(mine, "", algorithm="none", headers=typ)),
        "app user's secret": bearer(jwt.encode(mine, JWT_SECRET, algorithm="HS256", headers=typ)),
        "app user as guest": photographer("photographer-one", headers=typ),
        "link's secret": bearer(jwt.encode(mine, links, algorithm="HS256", headers=typ)),
        "link": bearer(one.link.rsplit("/", 1)[-1]),
        "expired": bearer(jwt.encode(mine | {"exp": int(time.time()) - 1}, guests, "HS256", headers=typ)),
        "of no album": bearer(jwt.encode(mine | {"album": str(uuid4())}, guests, "HS256", headers=typ)),
        "guest without typ": bearer(jwt.encode(mine, guests, algorithm="HS256")),
        "other audience": bearer(jwt.encode(mine | {"aud": "photo"}, guests, "HS256", headers=typ)),
        "expired photographer": photographer("photographer-one", exp=int(time.time()) - 100),
        "altered photographer": bearer(forged(photographer("photographer-two"), sub="photographer-one")),
    }


def valid_elsewhere(world: World) -> dict[str, Headers]:
    """Credentials that are good, but not for this album."""
    return {
        "other photographer": world.two.owner,
        "other account": world.other.owner,
        "key for other collections": world.elsewhere,
        "guest of another album": world.two.guest,
        "guest of another account": world.other.guest,
        "another guest of this album": world.same_album,
        "app user": bearer(token(sub="anna-in-the-app")),
    }


def test_the_walk_is_one_that_the_owner_may_take(world: World) -> None:
    for method, path, operation in world.operations:
        if method == "GET" and operation["operationId"] != "GetMember":
            answer = call(world, world.one, world.one.owner, method, path, operation)
            assert answer.status_code == 200, (path, answer.text)
        assert bool(operation.get("security")) != (operation["operationId"] in PUBLIC), path


@pytest.mark.parametrize("name", [
    "nobody", "wrong key", "altered album", "altered guest", "altered expiry", "alg none",
    "app user's secret", "app user as guest", "link's secret", "link", "expired", "of no album",
    "guest without typ", "other audience", "expired photographer", "altered photographer",
])  # fmt: skip
def test_a_wrong_credential_opens_nothing(world: World, name: str) -> None:
    before = world.state()
    who = invalid(world)[name]
    for method, path, operation in world.operations:
        if operation["operationId"] not in PUBLIC:
            answer = call(world, world.one, who, method, path, operation)
            assert answer.status_code == 401, (method, path, answer.text)
    assert world.state() == before


@pytest.mark.parametrize("name", [
    "other photographer", "other account", "key for other collections", "guest of another album",
    "guest of another account", "another guest of this album", "app user",
])  # fmt: skip
def test_what_is_good_elsewhere_opens_nothing_here(world: World, name: str) -> None:
    before = world.state()
    who = valid_elsewhere(world)[name]
    hidden = [*world.one.secrets, world.one.album_id, world.one.guest_id, world.one.photo_id]
    for method, path, operation in world.operations:
        if operation["operationId"] in PUBLIC:
            continue
        answer = call(world, world.one, who, method, path, operation)
        if is_aimed(path, operation):
            assert answer.status_code in REFUSED, (method, path, answer.text)
            assert not [text for text in world.one.secrets if text in answer.text], (path, answer.text)
        else:
            assert answer.status_code < 500, (path, answer.text)
            assert not [text for text in hidden if text in answer.text], (path, answer.text)
    assert world.state() == before


def test_a_key_that_may_read_changes_nothing(world: World) -> None:
    before = world.state()
    for method, path, operation in world.operations:
        if method != "GET" and operation["operationId"] not in READING | PUBLIC:
            answer = call(world, world.one, world.reader, method, path, operation)
            assert answer.status_code == 403, (method, path, answer.text)
    assert world.state() == before


def test_guests_may_do_three_things_and_learn_no_figures(world: World) -> None:
    one, http = world.one, world.http
    own = f"{ALBUMS}/{one.album_id}/guests/{one.guest_id}"
    allowed = set()
    for method, path, operation in world.operations:
        if operation["operationId"] not in PUBLIC | {"DeleteGuest"}:
            answer = call(world, one, one.guest, method, path, operation)
            assert answer.status_code in (200, 403), (path, answer.text)
            if answer.status_code == 200:
                allowed.add(operation["operationId"])
    assert allowed == {"EnrollGuest", "GetGuest", "ListGuestPhotos", "ListPhotos"}
    enrol(http, one, world.people[0], "Name of one")
    for shown in (own, f"{ALBUMS}/{one.album_id}/guests/me"):
        page = http.get(f"{shown}/photos", headers=one.guest).json()
        assert {(photo["similarity"], photo["cosine"]) for photo in page["photos"]} == {(None, None)}
        assert {photo["match"] for photo in page["photos"]} <= {"high", "medium", "low"}
    # Nor by a detour: what a guest sends is the photo itself, and all photos are not theirs.
    for body in ({"image_url": "https://example.org/a.jpg"}, {"s3_bucket": "photos", "s3_key": "a.jpg"},
                 {"supabase_path": "a.jpg"}):  # fmt: skip
        answer = http.post(f"{ALBUMS}/{one.album_id}/guests", json=body, headers=one.guest)
        assert answer.status_code == 403, answer.text
    for path in ("/photos", "/photos?state=done", f"/photos?guest={world.two.guest_id}"):
        assert http.get(f"{ALBUMS}/{one.album_id}{path}", headers=one.guest).status_code == 403
    for path in ("/guests/../photos", "/guests/me/../../photos", "/guests/me%2F..%2F..%2Fphotos", "/guests/",
                 "/guests/me/photos/", "/guests/me%00", "/guests/me%2Fphotos%2F..", "/guests/%6De/../",
                 "/guests/%EF%BD%8D%EF%BD%85", "/guests/Me"):  # fmt: skip
        answer = http.send(http.build_request("GET", f"{ALBUMS}/{one.album_id}{path}", headers=one.guest))
        assert answer.status_code in (307, 403, 404, 422), (path, answer.text)
        assert not [secret for secret in one.secrets[2:] if secret in answer.text]
    for method in ("HEAD", "OPTIONS", "PUT", "TRACE"):
        assert http.request(method, own, headers=one.guest).status_code == 405


def test_pages_of_guests_are_their_own(world: World) -> None:
    http, one = world.http, world.one
    mine, theirs = f"{ALBUMS}/{one.album_id}/guests/me/photos", world.same_album
    more = {"threshold": 1}
    http.patch(f"{ALBUMS}/{one.album_id}", json=more, headers=one.owner).raise_for_status()
    sent = {"image": ("selfie.jpg", world.people[1])}
    http.post(f"{ALBUMS}/{one.album_id}/guests", files=sent, headers=theirs).raise_for_status()
    with acting(http, one.owner) as own:
        upload(own, one.album_id, {"file-of-one-group.jpg": photos.group()})
        wait_until_finished(own, one.album_id)
    page = http.get(mine, params={"limit": "1"}, headers=one.guest).json()
    shown = page["next_token"]
    assert shown is not None
    assert http.get(mine, params={"limit": "1", "next_token": shown}, headers=one.guest).status_code == 200
    for where, who in (
        (mine, theirs),
        (f"{ALBUMS}/{world.two.album_id}/guests/me/photos", world.two.guest),
        (f"{ALBUMS}/{one.album_id}/guests", one.owner),
        (f"{ALBUMS}/{one.album_id}/photos", one.owner),
        (ALBUMS, one.owner),
        (f"{ALBUMS}/{world.two.album_id}/photos", world.two.owner),
    ):
        answer = http.get(where, params={"next_token": shown}, headers=who)
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidPaginationTokenException")
    # The token tells nothing: the same page has another one each time.
    assert http.get(mine, params={"limit": "1"}, headers=one.guest).json()["next_token"] != shown
    for number, letter in enumerate(shown):
        if number % 7 == 0:
            wrong = f"{shown[:number]}{'A' if letter != 'A' else 'B'}{shown[number + 1 :]}"
            assert http.get(mine, params={"next_token": wrong}, headers=one.guest).status_code == 400
    for wrong in ("", "x", "~", "~~~~", "A" * 255, "é", "\0", shown + "A", shown + "="):
        answer = http.get(mine, params={"next_token": wrong}, headers=one.guest)
        assert answer.status_code in (400, 422), (wrong, answer.text)
    for limit in ("0", "-1", "1001", "10" * 40, "1.5", "NaN", "x"):
        assert http.get(mine, params={"limit": limit}, headers=one.guest).status_code == 422


def test_photographers_see_and_count_their_own(world: World) -> None:
    http, one, two = world.http, world.one, world.two
    for mine, theirs in ((one, two), (two, one)):
        shown = http.get(ALBUMS, headers=mine.owner).json()["albums"]
        assert mine.album_id in [album["id"] for album in shown]
        collections = http.get("/api/v1/collections", headers=mine.owner).text
        assert mine.album_id in collections
        for text in (json.dumps(shown), collections):
            assert not [secret for secret in (*theirs.secrets, theirs.album_id) if secret in text]
    totals = {}
    for name, who in (("one", one.owner), ("two", two.owner), ("all", ADMIN)):
        found = http.get("/ops/status", headers=dict(who)).json()
        totals[name] = {of: found[of] for of in ("collections", "users", "faces")}
        shown = http.get("/api/v1/collections", params={"max_results": "1000"}, headers=dict(who)).json()
        assert found["collections"] == len(shown["CollectionIds"])
    assert totals["two"]["faces"] < totals["all"]["faces"]
    assert totals["one"]["users"] < totals["all"]["users"]
    # An id that is taken, and the one that everybody's members need.
    taken = http.post(ALBUMS, json={"id": one.album_id}, headers=two.owner)
    assert (taken.status_code, taken.json()["reason"]) == (409, "AlbumExists")
    assert http.post(ALBUMS, json={"id": "members"}, headers=two.owner).status_code == 409
    assert http.post(ALBUMS, json={"id": "own"}, headers=bearer(token(sub="nobody"))).status_code == 403
    long = http.post(ALBUMS, json={"id": "long"}, headers=photographer("x" * 256))
    assert long.status_code == 403
    code = http.patch(f"{ALBUMS}/{two.album_id}", json={"event_code": one.code}, headers=two.owner)
    assert (code.status_code, code.json()["reason"]) == (409, "EventCodeTaken")
    assert one.album_id not in code.text


def test_another_account_finds_nothing_by_rekognition(world: World) -> None:
    before = world.state()
    client = client_of(world.service, *world.other_key)
    for doing in walk(world.one.album_id, world.people[0]):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            doing(client)
    assert world.one.album_id not in client.list_collections()["CollectionIds"]
    # An album of the same id is another album.
    asked = {"id": world.one.album_id, "title": "Same id"}
    world.http.post(ALBUMS, json=asked, headers=world.other.owner).raise_for_status()
    where = f"{ALBUMS}/{world.one.album_id}"
    for what in ("photos", "guests"):
        assert world.http.get(f"{where}/{what}", headers=world.other.owner).json()["count"] == 0
    photo = world.http.get(f"{where}/photos/{world.one.photo_id}", headers=world.other.owner)
    assert photo.status_code == 404
    selfie = {"image": ("s.jpg", world.people[0])}
    search = world.http.post(f"{where}/search", files=selfie, headers=world.other.owner)
    assert search.json()["photos"] == []
    assert world.http.get(where, headers=world.other.guest).status_code == 403
    assert world.http.get(f"{where}/guests/me", headers=world.other.guest).status_code == 404
    world.http.delete(where, headers=world.other.owner).raise_for_status()
    assert world.state() == before


def test_links_open_photos_alone_and_end_with_their_album(world: World) -> None:
    http = world.http
    album = new_album(http, world.one.owner, "short", world.people)
    where = f"{ALBUMS}/{album.album_id}"
    matched = http.get(f"{where}/guests/me/photos", headers=album.guest).json()["photos"][0]
    links = [album.link, matched["thumbnail_url"], matched["original_url"]]
    for link in links:
        answer = http.get(link)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("image/")
    shown = album.guest["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(album.link.rsplit("/", 1)[-1], options={"verify_signature": False})
    secret = world.secret("links")
    for wrong in (
        shown,
        forged(bearer(album.link.rsplit("/", 1)[-1]), sub=world.two.photo_id),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, world.secret("guests"), algorithm="HS256"),
        jwt.encode(claims | {"exp": int(time.time()) - 1}, secret, algorithm="HS256"),
        jwt.encode(claims | {"sub": str(uuid4())}, secret, algorithm="HS256"),
        "x", "..", "%00", "a" * 1024,
    ):  # fmt: skip
        answer = http.get(f"/api/v1/links/{wrong}")
        assert answer.status_code == 404, (wrong, answer.text)
    assert http.get(f"/api/v1/links/{'a' * 1025}").status_code == 422
    old = dict(album.guest)
    http.delete(where, headers=album.owner).raise_for_status()
    for _ in range(2):
        assert [http.get(link).status_code for link in links] == [404] * 3
        for path in ("me", album.guest_id, "me/photos"):
            assert http.get(f"{where}/guests/{path}", headers=old).status_code == 401
        again = {"id": album.album_id, "event_code": album.code}
        answer = http.post(ALBUMS, json=again, headers=album.owner)
    assert answer.status_code == 409  # it was made anew the first time
    # Not even with the code does an old token bring its owner along.
    joined = http.post(f"{ALBUMS}/join", json={"event_code": album.code, "token": shown}).json()
    assert joined["guest_id"] != album.guest_id
    renewed = http.post(f"{ALBUMS}/join", json={"event_code": album.code, "token": joined["token"]}).json()
    assert renewed["guest_id"] == joined["guest_id"]
    crossed = http.post(f"{ALBUMS}/join", json={"event_code": world.two.code, "token": joined["token"]})
    assert crossed.json()["guest_id"] != joined["guest_id"]
    http.delete(where, headers=album.owner).raise_for_status()
    gone = http.post(f"{ALBUMS}/join", json={"event_code": album.code})
    assert (gone.status_code, gone.json()["reason"]) == (403, "WrongEventCode")


def test_logs_name_nobody(world: World) -> None:
    http, two = world.http, world.two
    # What goes wrong is what gets logged.
    with acting(http, two.owner) as own:
        upload(own, two.album_id, {"file-of-two-broken.jpg": world.people[0][:3000]})
        wait_until_finished(own, two.album_id)
    sent = {"image": ("file-of-two-selfie.jpg", b"no photo")}
    http.post(f"{ALBUMS}/{two.album_id}/guests", files=sent, headers=two.guest)
    http.get(f"{ALBUMS}/{two.album_id}/guests/{two.guest_id}?wrong={two.code}", headers=two.guest)
    http.request("PUT", f"{ALBUMS}/{two.album_id}/guests/{two.guest_id}", headers=two.guest)
    http.post(f"{ALBUMS}/join", content=json.dumps({"event_code": two.code, "x": 1}))
    http.delete(f"{ALBUMS}/{two.album_id}/guests/me", headers=two.guest).raise_for_status()
    log = world.service.log
    assert "works" in log  # the worker's too
    for album in (world.one, world.two, world.other):
        tokens = [who["Authorization"][-40:] for who in (album.guest, album.owner) if "Authorization" in who]
        for text in (
            *album.secrets,
            album.guest_id,
            album.photo_id,
            album.album_id,
            album.link[-40:],
            *tokens,
        ):
            assert text not in log
    for text in (SECRET, JWT_SECRET, world.other_key[1], "photographer-one", "walk.jpg", "guest-", "selfie"):
        assert text not in log


def test_event_codes_can_not_be_guessed(world: World) -> None:
    """The last one: from here on, nobody of this machine joins for a minute."""
    http, one = world.http, world.one
    unknown = [
        one.code[:-1], one.code + "x", one.code[1:], one.album_id,
        "auto", "%", "_" * len(one.code), "' OR 1=1 --", "members", one.title,
    ]  # fmt: skip
    for code in unknown:
        answer = http.post(f"{ALBUMS}/join", json={"event_code": code})
        assert (answer.status_code, answer.json()["reason"]) == (403, "WrongEventCode"), code
        assert answer.json()["detail"] == "No album has this event code"
    for body in ({}, {"event_code": ""}, {"event_code": None}, {"event_code": "x" * 65},
                 {"event_code": "a\0b"},
                 {"event_code": ["a"]}, {"event_code": {"$ne": ""}}, {"event_code": 1}):  # fmt: skip
        assert http.post(f"{ALBUMS}/join", json=body).status_code == 422, body
    for code in ("short", "x" * 65, "with space", "semi;colon", "ünïcode", ""):
        answer = http.patch(f"{ALBUMS}/{one.album_id}", json={"event_code": code}, headers=one.owner)
        assert answer.status_code in (200, 422)
        assert answer.json().get("event_code") in (None, one.code)
    http.patch(f"{ALBUMS}/{one.album_id}", json={"event_code": one.code}, headers=one.owner)
    for number in range(CALLS_A_MINUTE + 1):
        answer = http.post(f"{ALBUMS}/join", json={"event_code": f"GUESS{number}"})
        if answer.status_code == 429:
            break
    assert (answer.status_code, answer.json()["code"]) == (429, "ThrottlingException")
    assert int(answer.headers["Retry-After"]) >= 1
    # Neither does the right code help, nor a header that says to be somebody else.
    assert http.post(f"{ALBUMS}/join", json={"event_code": one.code}).status_code == 429
    # A code that can't be chosen is another album's: whoever tries that out is stopped as well.
    where = f"{ALBUMS}/{world.two.album_id}"
    choice = {"event_code": one.code}
    tried = [
        http.patch(where, json=choice, headers=world.two.owner).status_code for _ in range(CALLS_A_MINUTE + 1)
    ]
    assert (tried[0], tried[-1]) == (409, 429)
    # Those who are in go on; they have a limit of their own.
    where = f"{ALBUMS}/{one.album_id}/guests/me"
    answers = [http.get(where, headers=one.guest).status_code for _ in range(CALLS_A_MINUTE + 1)]
    assert answers[0] == 200
    assert answers[-1] == 429
    assert http.get(where, headers=world.same_album).status_code == 200
