"""A collection of another face model is embedded anew and switched at once."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from app.measure.service import start
from app.store.embedded import EmbeddedPostgres
from tests import photos
from tests.api.index_jobs import wait
from tests.supabase import settings_for, supabase


@dataclass
class Changed:
    """A service whose collection `members` was made by another model."""

    http: httpx.Client
    url: str

    def model_is(self, version: str) -> None:
        """Say that another model made the collection, and spoil its vectors, as another model's are."""
        with psycopg.connect(self.url) as connection:
            connection.execute("UPDATE collections SET face_model_version = %s", (version,))
            connection.execute("UPDATE faces SET embedding = (SELECT embedding FROM faces LIMIT 1)")

    def who(self, photo: bytes) -> httpx.Response:
        return self.http.post("/identify", json={"image_base64": base64.b64encode(photo).decode()})


@pytest.fixture
def changed(tmp_path: Path) -> Iterator[Changed]:
    database = EmbeddedPostgres(tmp_path / "database")
    url = database.start()
    with supabase() as storage:
        storage.files["profiles/anna.png"] = photos.astronaut()
        storage.files["profiles/group.jpg"] = photos.group()
        service = start(tmp_path / "data", DATABASE_URL=url, WORKERS="1", **settings_for(storage))
        try:
            with httpx.Client(base_url=service.url, timeout=60) as http:
                for member, path in (("anna", "anna.png"), ("bea", "group.jpg")):
                    http.post("/enroll", json={"member_id": member, "supabase_path": path}).raise_for_status()
                # Six faces of one photo that belong to nobody.
                http.post(
                    "/api/v1/collections/members/index-faces", json={"supabase_path": "group.jpg"}
                ).raise_for_status()
                yield Changed(http, url.replace("+psycopg", ""))
        finally:
            service.stop()
            database.stop()


def test_every_vector_is_made_anew_and_the_model_is_switched(changed: Changed) -> None:
    changed.model_is("0.9")
    refused = changed.who(photos.astronaut())
    assert (refused.status_code, refused.json()["reason"]) == (409, "FaceModelMismatch")
    by_photos = {"photos": [{"member_id": "anna", "supabase_path": "anna.png"}]}
    assert changed.http.post("/index", json=by_photos).json()["reason"] == "FaceModelMismatch"
    job = wait(changed.http, changed.http.post("/index", json={}).json()["job_id"])
    assert (job["status"], job["done"], job["failed"]) == ("succeeded", 8, 0)
    assert changed.who(photos.astronaut()).json()["member_id"] == "anna"
    assert changed.who(photos.group()).json()["member_id"] == "bea"
    described = changed.http.get("/api/v1/collections/members").json()
    assert (described["FaceModelVersion"], described["FaceCount"]) == ("1.0", 8)
    found = changed.http.post(
        "/api/v1/collections/members/search-faces",
        files={"image": ("g.jpg", photos.group())},
    ).json()["FaceMatches"]
    assert len(found) == 2  # bea's, and the same face that belongs to nobody


def test_without_a_photo_nothing_is_switched_unless_faces_may_go(changed: Changed) -> None:
    uploaded = {"image": ("a.png", photos.astronaut())}
    changed.http.post("/enroll", files=uploaded, data={"member_id": "carla"}).raise_for_status()
    changed.model_is("0.9")
    job = wait(changed.http, changed.http.post("/index", json={}).json()["job_id"])
    assert (job["status"], job["reason"], job["failed"]) == ("failed", "PhotosMissing", 1)
    assert changed.who(photos.astronaut()).status_code == 409
    assert changed.http.get("/members/carla").json()["face_count"] == 1
    again = changed.http.post("/index", json={"allow_missing": True}).json()
    job = wait(changed.http, again["job_id"])
    assert (job["status"], job["done"], job["failed"]) == ("succeeded", 8, 1)
    assert changed.http.get("/members/carla").json()["face_count"] == 0
    assert changed.who(photos.astronaut()).json()["member_id"] == "anna"
