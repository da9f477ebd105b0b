"""Members of two accounts in collections of the same id: neither sees, changes or erases the other's."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from app.measure.service import RunningService, running
from tests import photos
from tests.api.index_jobs import wait
from tests.api.signing import KEY_ID, SECRET
from tests.api.test_access import OTHER, SETTINGS, made
from tests.supabase import settings_for, supabase


@pytest.fixture
def locked() -> Iterator[RunningService]:
    with ExitStack() as stack:
        storage = stack.enter_context(supabase())
        storage.files["profiles/anna.png"] = photos.astronaut()
        yield stack.enter_context(running(**SETTINGS, **settings_for(storage), WORKERS="1"))


def test_two_accounts_see_nothing_of_each_others_members(locked: RunningService) -> None:
    other_key = ":".join(made(locked, "--account", OTHER, "--role", "admin"))
    with (
        httpx.Client(base_url=locked.url, headers={"X-API-Key": f"{KEY_ID}:{SECRET}"}, timeout=60) as one,
        httpx.Client(base_url=locked.url, headers={"X-API-Key": other_key}, timeout=60) as other,
    ):
        image = {"image": ("a.png", photos.astronaut())}
        bound = {"member_id": "anna", "subject": "s"}
        one.post("/enroll", files=image, data=bound).raise_for_status()
        job = one.post("/index", json={"photos": [{"member_id": "bea", "supabase_path": "anna.png"}]}).json()
        assert wait(one, job["job_id"])["done"] == 1

        assert other.get("/members").json()["members"] == []
        # Their own collection of the same id, with a member of their own.
        other.post("/enroll", files=image, data={"member_id": "carla"}).raise_for_status()
        for answer in (
            other.get("/members/anna"),
            other.delete("/members/anna"),
            other.patch("/members/anna", json={"metadata": {"a": 1}}),
            other.post("/verify", files=image, data={"member_id": "anna"}),
            other.get(f"/index/{job['job_id']}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "ResourceNotFoundException")
        found = other.post("/identify", files=image, data={"top_k": "100", "threshold": "-1"}).json()
        assert [match["member_id"] for match in found["matches"]] == ["carla"]
        assert [member["member_id"] for member in other.get("/members").json()["members"]] == ["carla"]
        # The bucket belongs to the first account.
        refused = other.post("/enroll", json={"member_id": "x", "supabase_path": "anna.png"})
        assert (refused.status_code, refused.json()["code"]) == (422, "InvalidSupabaseObjectException")
        assert other.post("/index", json={"prefix": ""}).status_code == 422
        other.post("/enroll", files=image, data={"member_id": "anna", "subject": "s"}).raise_for_status()
        other.delete("/members/anna").raise_for_status()
        kept = one.get("/members/anna").json()
        assert (kept["face_count"], kept["metadata"]) == (1, {})
        page = one.get("/members", params={"limit": "1"}).json()["next_token"]
        assert other.get("/members", params={"next_token": page}).status_code == 400
