"""docs/backup.md is carried out: what a dump holds works on another server's database."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet

from app.measure.service import RunningService, start
from app.store.embedded import EmbeddedPostgres
from tests import photos
from tests.documents import ROOT, blocks
from tests.store.postgres_programs import program

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

DOCUMENT = ROOT / "docs" / "backup.md"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    postgres = EmbeddedPostgres(tmp_path / "pg")
    yield postgres.start()
    postgres.stop()


def made_key(settings: dict[str, str]) -> tuple[str, str]:
    """A key as an operator makes it: its id and its secret."""
    printed = subprocess.run(
        [sys.executable, "-m", "app", "keys", "create", "--role", "admin"],
        env={**os.environ, **settings},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = dict(line.split("=", 1) for line in printed.splitlines())
    return lines["AWS_ACCESS_KEY_ID"], lines["AWS_SECRET_ACCESS_KEY"]


def client_of(service: RunningService, key: tuple[str, str]) -> "RekognitionClient":
    return boto3.session.Session().client(
        "rekognition",
        endpoint_url=service.url,
        region_name="us-east-1",
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
    )


def found_by(client: "RekognitionClient", probe: bytes) -> tuple[list[tuple[str, float]], list[str]]:
    """Faces with their Similarity, and users."""
    faces = client.search_faces_by_image(CollectionId="kept", Image={"Bytes": probe}, FaceMatchThreshold=0)
    users = client.search_users_by_image(CollectionId="kept", Image={"Bytes": probe})
    return (
        [(match["Face"]["FaceId"], match["Similarity"]) for match in faces["FaceMatches"]],
        [match["User"]["UserId"] for match in users["UserMatches"]],
    )


def upload(service: RunningService, key: tuple[str, str], photo: bytes) -> str:
    """The path of a link to a photo that was uploaded to an album."""
    with httpx.Client(
        base_url=f"{service.url}/api/v1", timeout=60, headers={"X-API-Key": ":".join(key)}
    ) as http:
        http.post("/albums", json={"id": "party"}).raise_for_status()
        answer = http.post("/albums/party/photos", files={"files": ("a.jpg", photo)})
        [sent] = answer.raise_for_status().json()["photos"]
        shown = http.get(f"/albums/party/photos/{sent['id']}").raise_for_status().json()
    return str(httpx.URL(shown["original_url"]).path)


def carry_out(commands: str, folder: Path, **variables: str) -> None:
    path = f"{Path(program('pg_dump')).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=folder,
        env={**os.environ, **variables, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_restored_backup_finds_the_same_faces_and_knows_the_same_keys(
    tmp_path: Path, database: str
) -> None:
    settings = {"KEYS_MASTER_KEY": Fernet.generate_key().decode(), "AUTH": "required"}
    key = made_key({**settings, "DATABASE_URL": database})
    group = photos.group()
    service = start(tmp_path / "data", DATABASE_URL=database, **settings)
    try:
        client = client_of(service, key)
        client.create_collection(CollectionId="kept")
        indexed = client.index_faces(CollectionId="kept", Image={"Bytes": group})["FaceRecords"]
        client.create_user(CollectionId="kept", UserId="u")
        face = indexed[2]["Face"]
        client.associate_faces(CollectionId="kept", UserId="u", FaceIds=[face["FaceId"]])
        probe = photos.crop_around(group, face["BoundingBox"])
        before = found_by(client, probe)
        link = upload(service, key, group)
        dumping, restoring, *_ = blocks(DOCUMENT, "sh")
        server = database.replace("+psycopg", "")
        carry_out(dumping, tmp_path, DATABASE_URL=server)
        shutil.copytree(tmp_path / "data" / "photos", tmp_path / "restored" / "photos")
    finally:
        service.stop()
    assert (before[0][0][0], before[1]) == (face["FaceId"], ["u"])

    restored = server.replace("/postgres?", "/faces_restored?")
    carry_out(restoring, tmp_path, SERVER_URL=server, RESTORED_URL=restored)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP TABLE faces CASCADE")  # nothing of it is read any more
    service = start(tmp_path / "restored", DATABASE_URL=restored, **settings)
    try:
        client = client_of(service, key)
        assert found_by(client, probe) == before
        assert client.describe_collection(CollectionId="kept")["FaceCount"] == len(indexed)
        assert httpx.get(f"{service.url}{link}", follow_redirects=True).content == group
        assert client.index_faces(CollectionId="kept", Image={"Bytes": group})["FaceRecords"]
    finally:
        service.stop()


def test_the_embedded_database_is_restored_by_copying_its_folder(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "data")
    with psycopg.connect(postgres.start().replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    dumping = blocks(DOCUMENT, "sh")[2]
    (tmp_path / ".venv").symlink_to(sys.prefix)
    carry_out(dumping, tmp_path)
    assert (tmp_path / "faces.dump").stat().st_size > 0
    postgres.stop()
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    copy = EmbeddedPostgres(tmp_path / "copy")
    try:
        with psycopg.connect(copy.start().replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT value FROM kept").fetchall() == [(7,)]
    finally:
        copy.stop()
