"""The service behind a real PgBouncer in transaction mode, by DATABASE_URL and DATABASE_DIRECT_URL."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy import text

from app.errors import ServiceUnavailableError
from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import ServiceFailedError, running, start
from app.store.database import LONG_FACTOR, Database
from app.store.embedded import EmbeddedPostgres
from tests import photos
from tests.pgbouncer import SERVER_CONNECTIONS, PgBouncer, pgbouncer

CLIENTS = 8
# psycopg prepares a statement at its sixth use on a connection.
TURNS = 8


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    database = EmbeddedPostgres(tmp_path_factory.mktemp("pooler"))
    yield database.start()
    database.stop()


@pytest.fixture(scope="module")
def bouncer(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgBouncer]:
    with pgbouncer(database_url, tmp_path_factory.mktemp("pooler") / "bouncer") as started:
        yield started


def live(url: str, number: int, portrait: bytes) -> None:
    """One client's life of a collection, at every door; any error is raised."""
    client = rekognition_client(url, 1)
    name = f"life-{number}"
    client.create_collection(CollectionId=name, Tags={"n": str(number)})
    indexed = client.index_faces(CollectionId=name, Image={"Bytes": portrait}, ExternalImageId="a")
    face_id = indexed["FaceRecords"][0]["Face"]["FaceId"]
    client.create_user(CollectionId=name, UserId="u")
    client.associate_faces(CollectionId=name, UserId="u", FaceIds=[face_id])
    found = client.search_users_by_image(CollectionId=name, Image={"Bytes": portrait})
    assert [match["User"]["UserId"] for match in found["UserMatches"]] == ["u"]
    here = {"collection": name}
    with httpx.Client(base_url=url, timeout=60) as http:
        for turn in range(TURNS):
            faces = client.search_faces(CollectionId=name, FaceId=face_id, FaceMatchThreshold=0)
            assert faces["FaceMatches"] == []
            assert [face["FaceId"] for face in client.list_faces(CollectionId=name)["Faces"]] == [face_id]
            member = f"m-{number}-{turn}"
            upload = {"image": ("a.jpg", portrait)}
            http.post("/enroll", data={"member_id": member}, files=upload, params=here).raise_for_status()
            assert http.get(f"/members/{member}", params=here).json()["face_count"] == 1
            http.delete(f"/members/{member}", params=here).raise_for_status()
    matches = client.search_faces_by_image(CollectionId=name, Image={"Bytes": portrait})["FaceMatches"]
    assert [match["Face"]["FaceId"] for match in matches] == [face_id]
    client.delete_user(CollectionId=name, UserId="u")
    client.delete_faces(CollectionId=name, FaceIds=[face_id])
    client.delete_collection(CollectionId=name)


def index_an_album(url: str) -> None:
    """By a worker, which goes through the pooler too."""
    with httpx.Client(base_url=f"{url}/api/v1", timeout=60) as http:
        http.post("/albums", json={"id": "party"}).raise_for_status()
        http.post("/albums/party/photos", files={"files": ("a.png", photos.astronaut())}).raise_for_status()
        deadline = time.monotonic() + 200
        while not (status := http.get("/albums/party/status").json())["finished"]:
            assert time.monotonic() < deadline, status
            time.sleep(0.1)
        assert (status["done"], status["faces"]) == (1, 1)


def test_everything_works_through_a_pooler_with_few_connections(
    database_url: str, bouncer: PgBouncer
) -> None:
    portrait = photos.encode(photos.opened(photos.astronaut()))
    settings = {
        "DATABASE_URL": bouncer.url,
        "DATABASE_DIRECT_URL": database_url,
        "WORKERS": "1",
        "WORKER_NICE": "0",
    }
    with running(**settings) as service:
        assert httpx.get(f"{service.url}/ready").status_code == 200
        with ThreadPoolExecutor(CLIENTS + 1) as clients:
            album = clients.submit(index_an_album, service.url)
            for done in [clients.submit(live, service.url, number, portrait) for number in range(CLIENTS)]:
                done.result()
            album.result()
        pools = [pool for pool in bouncer.show("POOLS") if pool["database"] == "postgres"]
        [stats] = [found for found in bouncer.show("STATS") if found["database"] == "postgres"]
        log = service.log
    for sign in ("ERROR", "Traceback", "a job waits", "can be claimed"):
        assert sign not in log, log
    assert sum(pool["cl_active"] + pool["cl_waiting"] for pool in pools) > SERVER_CONNECTIONS
    assert sum(pool["sv_active"] + pool["sv_idle"] + pool["sv_used"] for pool in pools) <= SERVER_CONNECTIONS
    assert stats["total_xact_count"] > CLIENTS * TURNS * 5


@pytest.mark.parametrize("pooled", [True, False])
def test_statements_end_in_time_and_the_limit_is_no_other_clients(
    database_url: str, bouncer: PgBouncer, pooled: bool
) -> None:
    async def work() -> list[str]:
        url = bouncer.url.replace("postgresql://", "postgresql+psycopg://") if pooled else database_url
        database = Database(url, pool_size=1, max_overflow=0, statement_timeout_s=1, pooled=pooled)
        try:
            with pytest.raises(ServiceUnavailableError):
                async with database.session() as session:
                    await session.execute(text("SELECT pg_sleep(60)"))
            seen = []
            for opened in (database.snapshot(), database.session(long=True), database.session()):
                async with opened as session:
                    seen.append(str(await session.scalar(text("SHOW statement_timeout"))))
            return seen
        finally:
            await database.close()

    assert asyncio.run(work()) == ["1s", f"{LONG_FACTOR}s", "1s"]
    with psycopg.connect(bouncer.url, prepare_threshold=None) as other:
        assert other.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_a_pooler_without_the_address_past_it_stops_the_start_and_says_so(
    bouncer: PgBouncer, tmp_path: Path
) -> None:
    with pytest.raises(ServiceFailedError, match="connection pooler: set DATABASE_DIRECT_URL"):
        start(tmp_path / "data", DATABASE_URL=bouncer.url)
