"""When /ready says yes, and what it says otherwise; statements that take too long."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import botocore.exceptions
import httpx
import psutil
import psycopg
import pytest

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, start
from app.store.embedded import EmbeddedPostgres


@dataclass(frozen=True)
class House:
    service: RunningService
    database_url: str
    database_folder: Path

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.database_url.replace("+psycopg", "")) as connection:
            connection.execute(statement.encode())

    def ready(self) -> tuple[int, str | None]:
        """The status, and the reason or None."""
        answer = httpx.get(f"{self.service.url}/ready", timeout=60)
        if answer.status_code == 503:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status_code, answer.json().get("reason")

    @contextmanager
    def changed(self, statement: str, back: str) -> Iterator[None]:
        self.execute(statement)
        try:
            yield
        finally:
            self.execute(back)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("ready")
    database = EmbeddedPostgres(folder / "pg")
    url = database.start()
    try:
        service = start(folder / "data", DATABASE_URL=url, DB_STATEMENT_TIMEOUT_SECONDS="1")
        try:
            yield House(service, url, folder / "pg")
        finally:
            service.stop()
    finally:
        database.stop()


@pytest.mark.parametrize(
    ("statement", "back", "says"),
    [
        (
            "UPDATE alembic_version SET version_num = '0001'",
            "UPDATE alembic_version SET version_num = (SELECT version FROM kept)",
            (503, "SchemaNotReady"),
        ),
        ("ALTER TABLE alembic_version RENAME TO a", "ALTER TABLE a RENAME TO alembic_version",
         (503, "SchemaNotReady")),
        ("ALTER TABLE faces RENAME TO f", "ALTER TABLE f RENAME TO faces", (503, "SchemaNotReady")),
        ("ALTER TABLE faces RENAME COLUMN embedding TO e", "ALTER TABLE faces RENAME COLUMN e TO embedding",
         (503, "SchemaNotReady")),
        # As where pgvector was left out of a restore: the type is not there.
        ("CREATE SCHEMA away; ALTER EXTENSION vector SET SCHEMA away",
         "ALTER EXTENSION vector SET SCHEMA public; DROP SCHEMA away", (503, "VectorsNotReady")),
        # A newer release has migrated already, and this replica is still to be replaced.
        (
            "UPDATE alembic_version SET version_num = '9999'",
            "UPDATE alembic_version SET version_num = (SELECT version FROM kept)",
            (200, None),
        ),
    ],
)  # fmt: skip
def test_ready_only_while_a_search_would_work(
    house: House, statement: str, back: str, says: tuple[int, str | None]
) -> None:
    house.execute("CREATE TABLE kept AS SELECT version_num AS version FROM alembic_version")
    try:
        assert house.ready() == (200, None)
        with house.changed(statement, back):
            assert house.ready() == says
        assert house.ready() == (200, None)
    finally:
        house.execute("DROP TABLE kept")


def test_a_statement_that_takes_too_long_is_503_at_every_door(house: House) -> None:
    client = rekognition_client(house.service.url)
    with psycopg.connect(house.database_url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE collections")
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            client.list_collections()
        rest = httpx.get(f"{house.service.url}/api/v1/collections", timeout=60)
    answer = refused.value.response
    assert answer["Error"]["Code"] == "ServiceUnavailableError"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert int(answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) > 0
    assert (rest.status_code, rest.json()["code"]) == (503, "ServiceUnavailableError")
    assert int(rest.headers["Retry-After"]) > 0
    assert client.list_collections()["CollectionIds"] == []


def test_a_database_that_falls_silent_is_noticed(house: House) -> None:
    frozen = [
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "postgres" and str(house.database_folder) in _folder_of(process)
    ]
    assert frozen
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    try:
        assert house.ready() == (503, "DatabaseUnreachable")
        for path in ("/live", "/health"):
            assert httpx.get(f"{house.service.url}{path}").status_code == 200
    finally:
        for process in frozen:
            process.send_signal(signal.SIGCONT)
    assert house.ready() == (200, None)


def _folder_of(process: psutil.Process) -> str:
    try:
        return process.cwd()  # of all its processes, the cluster's
    except psutil.Error:
        return ""
