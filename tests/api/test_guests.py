"""Guests of albums: a selfie in, photos out, whoever comes first and whatever happens meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from PIL import Image, ImageOps

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, running
from tests import photos
from tests.api import albums
from tests.api.albums import ALBUMS, listed, made, status, upload, wait_until_finished

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where photos of albums with a source lie."""
    return tmp_path_factory.mktemp("photos")


@pytest.fixture(scope="module")
def working(folder: Path) -> Iterator[RunningService]:
    with running(WORKERS="1", GUEST_CALLS_A_MINUTE="100000", FOLDERS_ALLOWED=str(folder)) as service:
        yield service
        assert "Traceback" not in service.log


@pytest.fixture(scope="module")
def http(working: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=working.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def boto(working: RunningService) -> "RekognitionClient":
    return rekognition_client(working.url, 4)


@pytest.fixture(scope="module")
def people(http: httpx.Client) -> list[bytes]:
    """Selfies of the six people of `photos.group`."""
    return albums.crops(http)


def side_by_side(*parts: bytes) -> bytes:
    opened = [photos.opened(part) for part in parts]
    canvas = Image.new("RGB", (sum(one.width for one in opened), max(one.height for one in opened)))
    left = 0
    for one in opened:
        canvas.paste(one, (left, 0))
        left += one.width
    return photos.encode(canvas)


def mirrored(data: bytes) -> bytes:
    return photos.encode(ImageOps.mirror(photos.opened(data)))


def enrol(http: httpx.Client, album: str, selfie: bytes, **fields: str) -> Any:
    answer = http.post(f"{ALBUMS}/{album}/guests", files={"image": ("selfie.jpg", selfie)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def found(http: httpx.Client, album: str, guest: str, **params: str) -> list[Any]:
    """A guest's photos, page by page."""
    shown: list[Any] = []
    more: dict[str, str] = {}
    while True:
        where = f"{ALBUMS}/{album}/guests/{quote(guest, safe='')}/photos"
        page = http.get(where, params={**params, **more}).raise_for_status().json()
        assert page["count"] == len(page["photos"])
        shown += page["photos"]
        if page["next_token"] is None:
            return shown
        more = {"next_token": page["next_token"]}


def names(found_photos: list[Any]) -> list[str]:
    return sorted(photo["name"] for photo in found_photos)


def pairs(http: httpx.Client, album: str, guests: list[str]) -> dict[str, list[str]]:
    return {guest: [photo["id"] for photo in found(http, album, guest)] for guest in guests}


def test_the_life_of_a_guest(http: httpx.Client, people: list[bytes], boto: "RekognitionClient") -> None:
    album, other = made(http), made(http)
    upload(
        http,
        album,
        {
            "group.jpg": photos.group(),
            "anna.jpg": photos.encode(photos.opened(people[0]).resize((180, 180))),
            "twice.jpg": side_by_side(people[0], mirrored(people[0])),
            "bea.jpg": people[1],
            "nobody.jpg": photos.without_face(),
        },
    )
    before = wait_until_finished(http, album)

    # The selfie is matched at once.
    guest = enrol(http, album, people[0], id="anna", name="Anna")
    assert (guest["created"], guest["id"], guest["name"], guest["photos"]) == (True, "anna", "Anna", 3)
    shown = found(http, album, "anna")
    assert names(shown) == ["anna.jpg", "group.jpg", "twice.jpg"]
    assert [photo["cosine"] for photo in shown] == sorted((p["cosine"] for p in shown), reverse=True)
    for limit in ("1", "2", "3"):
        paged = found(http, album, "anna", limit=limit)
        assert [photo["id"] for photo in paged] == [photo["id"] for photo in shown]
    asked = http.get(f"{ALBUMS}/{album}/photos", params={"guest": "anna"}).raise_for_status().json()
    assert [photo["id"] for photo in asked["photos"]] == [photo["id"] for photo in shown]

    # It is a user of the collection, and no photo of the album.
    assert [user["UserId"] for user in boto.list_users(CollectionId=album)["Users"]] == ["anna"]
    matched = boto.search_users_by_image(CollectionId=album, Image={"Bytes": people[0]})["UserMatches"]
    assert [match["User"]["UserId"] for match in matched] == ["anna"]
    assert status(http, album) | {"photos_per_second": 0} == before | {"photos_per_second": 0}
    assert len(listed(http, album)) == 5
    assert boto.describe_collection(CollectionId=album)["FaceCount"] == before["faces"] + 1

    # A search stores nothing, and finds the same.
    for selfie, those in ((people[0], names(shown)), (people[1], ["bea.jpg", "group.jpg"])):
        answer = http.post(f"{ALBUMS}/{album}/search", files={"image": ("s.jpg", selfie)})
        assert names(answer.json()["photos"]) == those
    seen: list[str] = []
    token = ""
    while True:
        fields = {"limit": "1"} | ({"next_token": token} if token else {})
        page = http.post(f"{ALBUMS}/{album}/search", files={"image": ("s.jpg", people[0])}, data=fields)
        seen += [photo["id"] for photo in page.raise_for_status().json()["photos"]]
        token = page.json()["next_token"]
        if token is None:
            break
    assert seen == [photo["id"] for photo in shown]
    assert boto.describe_collection(CollectionId=album)["FaceCount"] == before["faces"] + 1
    assert http.get(f"{ALBUMS}/{album}/guests").json()["count"] == 1

    # New photos find the guest as they are indexed.
    upload(http, album, {"mirror.jpg": mirrored(photos.group()), "astronaut.png": photos.astronaut()})
    wait_until_finished(http, album)
    assert names(found(http, album, "anna")) == ["anna.jpg", "group.jpg", "mirror.jpg", "twice.jpg"]
    assert http.get(f"{ALBUMS}/{album}/guests/anna").json()["photos"] == 4

    # The same guest in another album is somebody else.
    upload(http, other, {"group.jpg": photos.group()})
    wait_until_finished(http, other)
    enrol(http, other, people[2], id="anna")
    assert names(found(http, other, "anna")) == ["group.jpg"]
    assert len(found(http, album, "anna")) == 4

    # A new selfie takes the place of the old one; the name stays.
    again = enrol(http, album, people[1], id="anna")
    assert (again["created"], again["name"], again["photos"]) == (False, "Anna", 3)
    assert names(found(http, album, "anna")) == ["bea.jpg", "group.jpg", "mirror.jpg"]
    assert len(boto.list_faces(CollectionId=album, UserId="anna")["Faces"]) == 1

    # A photo that is erased is found no more.
    photo = listed(http, album)["bea.jpg"]["id"]
    http.delete(f"{ALBUMS}/{album}/photos/{photo}").raise_for_status()
    assert names(found(http, album, "anna")) == ["group.jpg", "mirror.jpg"]

    # Neither is the guest who is erased; the photos stay.
    faces = status(http, album)["faces"]
    http.delete(f"{ALBUMS}/{album}/guests/anna").raise_for_status()
    for path in ("", "/photos"):
        assert http.get(f"{ALBUMS}/{album}/guests/anna{path}").status_code == 404
    assert http.delete(f"{ALBUMS}/{album}/guests/anna").status_code == 404
    assert boto.list_users(CollectionId=album)["Users"] == []
    assert boto.describe_collection(CollectionId=album)["FaceCount"] == faces
    group = http.get(f"{ALBUMS}/{album}/photos/{listed(http, album)['group.jpg']['id']}").json()
    assert [face["guests"] for face in group["found"]] == [[]] * 6
    assert len(found(http, other, "anna")) == 1


def test_a_photo_without_a_face_or_of_nobody_is_no_selfie(http: httpx.Client) -> None:
    album = made(http)
    answer = http.post(f"{ALBUMS}/{album}/guests", files={"image": ("s.jpg", photos.without_face())})
    assert (answer.status_code, answer.json()["reason"]) == (422, "NoFaceFound")
    assert http.post(f"{ALBUMS}/{album}/guests", json={"id": "x"}).status_code == 422
    assert http.get(f"{ALBUMS}/{album}/guests").json()["guests"] == []
    assert (
        http.post(f"{ALBUMS}/no-such/guests", files={"image": ("s", photos.astronaut())}).status_code == 404
    )


def test_ids_and_names_of_guests(http: httpx.Client, boto: "RekognitionClient") -> None:
    album = made(http)
    upload(http, album, {"a.png": photos.astronaut()})
    wait_until_finished(http, album)
    selfie = photos.astronaut()
    written = ["ana maría", "a/b", "a/photos", "ann%2Fe", "日本", "me", "x?y#z", "-", "123", "a" * 255]
    for number, guest in enumerate(written):
        assert enrol(http, album, selfie, id=guest, name=f"Name {number} é")["id"] == guest
    for number, guest in enumerate(written):
        shown = found(http, album, guest)
        assert names(shown) == ["a.png"]
        if guest != "a/photos":  # as a path it is the list of another guest's photos
            got = http.get(f"{ALBUMS}/{album}/guests/{quote(guest, safe='')}").json()
            assert (got["id"], got["name"]) == (guest, f"Name {number} é")
    photo = http.get(f"{ALBUMS}/{album}/photos/{listed(http, album)['a.png']['id']}").json()
    assert sorted(guest["guest_id"] for guest in photo["found"][0]["guests"]) == sorted(written)
    assert photo["found"][0]["guests"][0]["similarity"] > 99

    # Pages, in the order of the users' ids.
    shown_ids: list[str] = []
    token = None
    while True:
        params = {"limit": "3"} | ({"next_token": token} if token else {})
        page = http.get(f"{ALBUMS}/{album}/guests", params=params).json()
        shown_ids += [guest["id"] for guest in page["guests"]]
        token = page["next_token"]
        if token is None:
            break
    assert sorted(shown_ids) == sorted(written)
    assert len(boto.list_users(CollectionId=album)["Users"]) == len(written)

    assert enrol(http, album, selfie)["id"]  # one is made up
    assert enrol(http, album, selfie, id="123", name="Another")["name"] == "Another"
    as_number = http.post(
        f"{ALBUMS}/{album}/guests", json={"id": 123, "name": "Number", "image_base64": "AAAA"}
    )
    assert as_number.status_code in (415, 422)
    for wrong in ({"id": "a" * 256}, {"id": "a\x07b"}, {"id": " "}, {"id": "a\0b"}, {"id": "x", "name": "\0"},
                  {"id": "x", "name": "n" * 256}, {"id": "x", "what": "1"}):  # fmt: skip
        answer = http.post(f"{ALBUMS}/{album}/guests", files={"image": ("s", selfie)}, data=wrong)
        assert answer.status_code == 422, (wrong, answer.text)
    for guest in ("a\0b", "a" * 256, "\x07"):
        assert http.get(f"{ALBUMS}/{album}/guests/{quote(guest, safe='')}").status_code == 422
    for guest in written:
        http.delete(f"{ALBUMS}/{album}/guests/{quote(guest, safe='')}").raise_for_status()
    assert http.get(f"{ALBUMS}/{album}/guests").json()["count"] == 1


def test_guests_are_not_mixed_up_with_other_users(
    http: httpx.Client, people: list[bytes], boto: "RekognitionClient"
) -> None:
    album = made(http)
    upload(http, album, {"group.jpg": photos.group(), "anna.jpg": people[0]})
    faces = wait_until_finished(http, album)["faces"]
    boto.create_user(CollectionId=album, UserId="of-boto")
    member = {"member_id": "member"}
    http.post(
        "/enroll", params={"collection": album}, files={"image": ("m", people[1])}, data=member
    ).raise_for_status()
    for taken in ("of-boto", "member"):
        answer = http.post(f"{ALBUMS}/{album}/guests", files={"image": ("s", people[0])}, data={"id": taken})
        assert (answer.status_code, answer.json()["code"]) == (409, "ConflictException")
        for path in ("", "/photos"):
            assert http.get(f"{ALBUMS}/{album}/guests/{taken}{path}").status_code == 404
        assert http.delete(f"{ALBUMS}/{album}/guests/{taken}").status_code == 404
    assert http.get(f"{ALBUMS}/{album}/guests").json()["guests"] == []
    assert http.get("/members/member", params={"collection": album}).json()["face_count"] == 1

    # A face of a photo that somebody gave to a guest stays the photo's.
    enrol(http, album, people[0], id="anna")
    enrol(http, album, people[0], id="anna-too")
    photo = http.get(f"{ALBUMS}/{album}/photos/{listed(http, album)['anna.jpg']['id']}").json()
    face = photo["found"][0]["face_id"]
    given = boto.associate_faces(CollectionId=album, UserId="anna", FaceIds=[face])
    assert [one["FaceId"] for one in given["AssociatedFaces"]] == [face]
    enrol(http, album, people[0], id="anna")
    assert names(found(http, album, "anna")) == ["anna.jpg", "group.jpg"]
    boto.associate_faces(CollectionId=album, UserId="anna", FaceIds=[face])
    http.delete(f"{ALBUMS}/{album}/guests/anna").raise_for_status()
    assert names(found(http, album, "anna-too")) == ["anna.jpg", "group.jpg"]
    assert boto.describe_collection(CollectionId=album)["FaceCount"] == faces + 2

    # A guest whom another door erases is gone from this one.
    boto.delete_user(CollectionId=album, UserId="anna-too")
    assert http.get(f"{ALBUMS}/{album}/guests/anna-too").status_code == 404


def test_another_threshold_matches_anew(http: httpx.Client, people: list[bytes]) -> None:
    album = made(http, threshold=1)
    upload(http, album, {"group.jpg": photos.group(), "anna.jpg": people[0], "bea.jpg": people[1],
                         "mirror.jpg": mirrored(people[0]), "astronaut.png": photos.astronaut()})  # fmt: skip
    wait_until_finished(http, album)
    small = photos.encode(photos.opened(people[0]).resize((90, 90)), quality=50)
    enrol(http, album, small, id="anna")
    enrol(http, album, people[1], id="bea")
    all_of = {guest: found(http, album, guest) for guest in ("anna", "bea")}
    tried = sorted({photo["similarity"] for shown in all_of.values() for photo in shown})
    for least in (100.0, 99.0, 80.0, *tried[:3], 1.0):
        http.patch(f"{ALBUMS}/{album}", json={"threshold": max(least, 1)}).raise_for_status()
        for guest, shown in all_of.items():
            kept = {photo["name"] for photo in found(http, album, guest)}
            # The curve and its inverse may differ in the last digits.
            assert {p["name"] for p in shown if p["similarity"] >= least + 0.01} <= kept
            assert kept <= {p["name"] for p in shown if p["similarity"] >= least - 0.01}
    assert {guest: found_again(http, album, guest) for guest in all_of} == {
        guest: [photo["id"] for photo in shown] for guest, shown in all_of.items()
    }


def found_again(http: httpx.Client, album: str, guest: str) -> list[str]:
    return [photo["id"] for photo in found(http, album, guest)]


def test_matches_follow_photos_that_change(http: httpx.Client, people: list[bytes], folder: Path) -> None:
    place = folder / str(uuid4())
    place.mkdir()
    (place / "one.jpg").write_bytes(people[0])
    (place / "group.jpg").write_bytes(photos.group())
    album = made(http, source=f"{place}/")
    enrol(http, album, people[0], id="anna")
    enrol(http, album, people[1], id="bea")

    def now() -> tuple[list[str], list[str]]:
        albums.process(http, album)
        return names(found(http, album, "anna")), names(found(http, album, "bea"))

    assert now() == (["group.jpg", "one.jpg"], ["group.jpg"])
    before = listed(http, album)["one.jpg"]["id"]
    (place / "one.jpg").write_bytes(people[1])
    assert now() == (["group.jpg"], ["group.jpg", "one.jpg"])
    assert listed(http, album)["one.jpg"]["id"] == before
    (place / "one.jpg").write_bytes(side_by_side(people[0], people[1]))
    assert now() == (["group.jpg", "one.jpg"], ["group.jpg", "one.jpg"])
    (place / "one.jpg").write_bytes(b"no photo any more")
    assert now() == (["group.jpg"], ["group.jpg"])
    (place / "one.jpg").write_bytes(people[0])
    assert now() == (["group.jpg", "one.jpg"], ["group.jpg"])
    (place / "one.jpg").unlink()
    assert now() == (["group.jpg"], ["group.jpg"])
    # A photo that was taken out of the album stays out.
    http.delete(f"{ALBUMS}/{album}/photos/{listed(http, album)['group.jpg']['id']}").raise_for_status()
    assert found(http, album, "anna") == []
    (place / "one.jpg").write_bytes(people[0])
    assert now() == (["one.jpg"], [])


def test_guests_and_photos_that_come_at_once_find_each_other(http: httpx.Client, people: list[bytes]) -> None:
    album = made(http)
    small = [photos.opened(one).resize((160, 160)) for one in people]
    files = {}
    for number in range(36):
        image = small[number % 6].copy()
        image.putpixel((0, 0), (number, 0, 0))
        files[f"{number}.png"] = photos.encode(image, "PNG")
    guests = {f"guest-{number}": people[number % 6] for number in range(18)}

    def put(chunk: int) -> None:
        upload(http, album, {name: files[name] for name in list(files)[chunk::4]})

    def change(least: float) -> None:
        http.patch(f"{ALBUMS}/{album}", json={"threshold": least}).raise_for_status()

    def come_and_go(number: int) -> None:
        enrol(http, album, people[number % 6], id=f"passing-{number}")
        http.delete(f"{ALBUMS}/{album}/guests/passing-{number}").raise_for_status()

    def take_out(chunk: int) -> None:
        for name in list(listed(http, album))[chunk::9]:
            photo = listed(http, album).get(name)
            if photo is not None:
                gone = http.delete(f"{ALBUMS}/{album}/photos/{photo['id']}")
                assert gone.status_code in (200, 404), gone.text

    with ThreadPoolExecutor(8) as pool:
        work = []
        for number, (guest, selfie) in enumerate(guests.items()):
            if number % 4 == 0:
                work.append(pool.submit(put, number // 4 % 4))
            work.append(pool.submit(enrol, http, album, selfie, id=guest))
            if number % 3 == 0:
                work.append(pool.submit(come_and_go, number))
            if number in (7, 15):
                work.append(pool.submit(take_out, number))
            if number % 6 == 5:
                work.append(pool.submit(change, 70.0 + number))
        for one in work:
            one.result()
    change(75.0)
    wait_until_finished(http, album)
    quick = pairs(http, album, list(guests))
    for guest, selfie in guests.items():
        enrol(http, album, selfie, id=guest)
    assert quick == pairs(http, album, list(guests))
    kept = listed(http, album)
    for number, (guest, shown) in enumerate(quick.items()):
        assert len(shown) == len(set(shown))
        own = {photo["id"] for name, photo in kept.items() if int(name.split(".")[0]) % 6 == number % 6}
        assert own <= set(shown), guest
    assert status(http, album)["failed"] == 0
    assert {guest["id"] for guest in http.get(f"{ALBUMS}/{album}/guests").json()["guests"]} == set(guests)


def test_an_album_that_is_erased_while_it_is_busy(http: httpx.Client, people: list[bytes]) -> None:
    for turn in range(2):
        album = made(http)
        files = {f"{number}.jpg": people[number % 6] for number in range(6)}

        def put(turn: int, number: int, album: str = album) -> int:
            image = photos.opened(people[number % 6])
            image.putpixel((0, 0), (number, turn, 0))
            sent = [("files", (f"{number}.png", photos.encode(image, "PNG")))]
            return http.post(f"{ALBUMS}/{album}/photos", files=sent).status_code

        def come(number: int, album: str = album) -> int:
            sent = {"image": ("s.jpg", people[number % 6])}
            return http.post(f"{ALBUMS}/{album}/guests", files=sent, data={"id": f"g{number}"}).status_code

        def look(number: int, album: str = album) -> int:
            return http.get(f"{ALBUMS}/{album}/guests/g{number}/photos").status_code

        def match(number: int, album: str = album) -> int:
            return http.patch(f"{ALBUMS}/{album}", json={"threshold": 50 + number}).status_code

        def go(number: int, album: str = album) -> int:
            return http.delete(f"{ALBUMS}/{album}/guests/g{number}").status_code

        def erase(album: str = album) -> int:
            return http.delete(f"{ALBUMS}/{album}").status_code

        upload(http, album, files)
        with ThreadPoolExecutor(8) as pool:
            work = [pool.submit(put, turn, number) for number in range(6)]
            for number in range(8):
                work += [pool.submit(doing, number) for doing in (come, look, match, go)]
                if number == 4:
                    work.append(pool.submit(erase))
            answers = sorted({one.result() for one in work})
        assert set(answers) <= {200, 202, 404}, answers
        assert http.get(f"{ALBUMS}/{album}").status_code == 404
        # The next album of this id knows nothing of it.
        http.post(ALBUMS, json={"id": album}).raise_for_status()
        assert http.get(f"{ALBUMS}/{album}/guests").json()["guests"] == []
        empty = wait_until_finished(http, album)
        assert (empty["total"], empty["faces"]) == (0, 0)
        http.delete(f"{ALBUMS}/{album}").raise_for_status()
