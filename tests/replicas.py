"""Replicas that start at once on an empty database."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, start
from app.store import migrate
from app.store.embedded import EmbeddedPostgres
from tests import photos


def start_at_once_on_nothing(folder: Path, count: int) -> None:
    """All get ready, the migrations are applied once, and what one stores another finds."""
    database = EmbeddedPostgres(folder / "pg")
    url = database.start()
    settings = {"DATABASE_URL": url, "INFERENCE_THREADS": "1", "DB_POOL_SIZE": "2", "DB_MAX_OVERFLOW": "2"}
    replicas: list[RunningService] = []
    try:
        with ThreadPoolExecutor(count) as starters:
            started = [
                starters.submit(start, folder / f"replica-{number}", **settings) for number in range(count)
            ]
        replicas += [one.result() for one in started if one.exception() is None]
        assert [one.exception() for one in started] == [None] * count
        assert [httpx.get(f"{replica.url}/ready").status_code for replica in replicas] == [200] * count
        logs = "".join(replica.log for replica in replicas)
        for revision in migrate.revisions():
            assert logs.count(f"migration {revision} applied") == 1
        for sign in ("ERROR", "WARNING", "Traceback"):
            assert sign not in logs, logs
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        assert versions == [(migrate.revisions()[-1],)]
        _confirm_one_memory([replica.url for replica in replicas])
    finally:
        for replica in replicas:
            replica.stop()
        database.stop()


def _confirm_one_memory(urls: list[str]) -> None:
    first, last = rekognition_client(urls[0]), rekognition_client(urls[-1])
    first.create_collection(CollectionId="shared")
    indexed = first.index_faces(CollectionId="shared", Image={"Bytes": photos.astronaut()})
    found = last.search_faces_by_image(CollectionId="shared", Image={"Bytes": photos.astronaut()})
    face_ids = [match["Face"]["FaceId"] for match in found["FaceMatches"]]
    assert face_ids == [record["Face"]["FaceId"] for record in indexed["FaceRecords"]]
    for operation in (last.search_faces_by_image, last.search_users_by_image, last.index_faces):
        # The other replica was asked for it a moment ago.
        last.search_users_by_image(CollectionId="shared", Image={"Bytes": photos.astronaut()})
        first.delete_collection(CollectionId="shared")
        with pytest.raises(last.exceptions.ResourceNotFoundException):
            operation(CollectionId="shared", Image={"Bytes": photos.astronaut()})
        first.create_collection(CollectionId="shared")
