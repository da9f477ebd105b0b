"""What tests of albums share: making one, putting photos in, and waiting until they are indexed."""

import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import httpx

from tests import photos

ALBUMS = "/api/v1/albums"
WAIT_S = 240


def made(http: httpx.Client, **fields: Any) -> str:
    """The id of a new album."""
    album = f"album-{uuid4()}"
    http.post(ALBUMS, json={"id": album, **fields}).raise_for_status()
    return album


def crops(http: httpx.Client) -> list[bytes]:
    """Six photos, each of another person."""
    group = photos.group()
    found = http.post("/api/v1/detect-faces", files={"image": ("t1.jpg", group)}).json()["FaceDetails"]
    return [photos.crop_around(group, face["BoundingBox"]) for face in found]


def upload(http: httpx.Client, album: str, files: Mapping[str, bytes]) -> Any:
    """What the service says of files that are sent to it in one request."""
    sent = [("files", (name, data)) for name, data in files.items()]
    answer = http.post(f"{ALBUMS}/{album}/photos", files=sent)
    assert answer.status_code == 202, answer.text
    return answer.json()


def process(http: httpx.Client, album: str) -> Any:
    """The status once an album's source is listed and all is indexed."""
    answer = http.post(f"{ALBUMS}/{album}/process")
    assert answer.status_code == 202, answer.text
    assert answer.json()["finished"] is False
    return wait_until_finished(http, album)


def status(http: httpx.Client, album: str) -> Any:
    return http.get(f"{ALBUMS}/{album}/status").raise_for_status().json()


def wait_until_finished(http: httpx.Client, album: str) -> Any:
    """The status of an album of which nothing is left to do."""
    return wait_for(lambda: status(http, album), lambda now: now["finished"])


def wait_for(look: Callable[[], Any], until: Callable[[Any], Any]) -> Any:
    """What is seen as soon as it is as wanted."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        seen = look()
        if until(seen):
            return seen
        time.sleep(0.05)
    raise AssertionError(f"it did not come that far: {seen}")


def listed(http: httpx.Client, album: str, **params: str) -> dict[str, Any]:
    """Photos of an album by their names."""
    answer = http.get(f"{ALBUMS}/{album}/photos", params={"limit": "1000", **params}).raise_for_status()
    return {photo["name"]: photo for photo in answer.json()["photos"]}


def counts(now: Any) -> tuple[int, int, int, int]:
    """How many photos are done, failed and skipped, and how many faces they have."""
    return now["done"], now["failed"], now["skipped"], now["faces"]
