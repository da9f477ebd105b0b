"""`python -m app export` and `import`, between two running services."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import psycopg
import pytest

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, running
from app.store.embedded import EmbeddedPostgres
from tests import photos
from tests.documents import ROOT

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

PASSPHRASE = "twelve letters"


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[RunningService]:
    """Another installation."""
    with running() as started:
        yield started


def environment(service: RunningService, passphrase: str | None) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
    if passphrase is not None:
        variables["EXPORT_PASSPHRASE"] = passphrase
    return {**variables, "DATA_DIR": str(service.log_path.parent)}


def app(
    service: RunningService, *arguments: object, passphrase: str | None = PASSPHRASE
) -> "subprocess.CompletedProcess[str]":
    """A command on the machine of a service, whose embedded database it shares."""
    return subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        cwd=ROOT, env=environment(service, passphrase), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def moved(
    service: RunningService, elsewhere: RunningService, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A collection with faces, a user and a member, which was moved from one service to the other."""
    name = f"moved-{uuid4()}"
    client = rekognition_client(service.url)
    client.create_collection(CollectionId=name, Tags={"stage": "first"})
    indexed = client.index_faces(
        CollectionId=name, Image={"Bytes": photos.group()}, ExternalImageId="group.jpg"
    )
    client.create_user(CollectionId=name, UserId="drummer")
    face_id = indexed["FaceRecords"][0]["Face"]["FaceId"]
    client.associate_faces(CollectionId=name, UserId="drummer", FaceIds=[face_id])
    enrolled = httpx.post(
        f"{service.url}/enroll/file",
        params={"collection": name},
        data={"member_id": "Eileen Ä.", "metadata": '{"name": "Eileen Collins"}'},
        files={"image": photos.astronaut()},
        timeout=60,
    )
    assert enrolled.status_code == 200, enrolled.text
    file = tmp_path_factory.mktemp("moved") / "party.sealed"
    exported = app(service, "export", name, "--out", file)
    assert (exported.returncode, exported.stderr) == (0, "")
    assert exported.stdout == "exported 2 users, 7 faces of face model 1.0\n"
    assert file.stat().st_mode & 0o777 == 0o600
    imported = app(elsewhere, "import", file)
    assert (imported.returncode, imported.stderr) == (0, "")
    assert imported.stdout == "imported 2 users, 7 faces of face model 1.0\n"
    return name


def seen(client: "RekognitionClient", name: str) -> list[object]:
    """What searches and listings answer."""
    described = client.describe_collection(CollectionId=name)
    answers: list[object] = [
        described["CreationTimestamp"],
        client.list_tags_for_resource(ResourceArn=described["CollectionARN"])["Tags"],
        client.list_faces(CollectionId=name)["Faces"],
        client.list_users(CollectionId=name)["Users"],
    ]
    for probe in (photos.group(), photos.astronaut()):
        faces = client.search_faces_by_image(CollectionId=name, Image={"Bytes": probe}, FaceMatchThreshold=0)
        people = client.search_users_by_image(CollectionId=name, Image={"Bytes": probe}, UserMatchThreshold=0)
        answers += [faces["FaceMatches"], people["UserMatches"]]
    return answers


def test_the_other_service_finds_the_same_faces_with_equal_similarity(
    service: RunningService, elsewhere: RunningService, moved: str
) -> None:
    before, after = (seen(rekognition_client(one.url), moved) for one in (service, elsewhere))
    assert after == before
    assert before[1] == {"stage": "first"}
    assert len(before[4]) == 7  # type: ignore[arg-type]
    members = [
        httpx.get(f"{one.url}/members", params={"collection": moved}).json() for one in (service, elsewhere)
    ]
    assert members[0] == members[1]
    assert "Eileen Collins" in str(members[1])


def test_what_was_moved_can_be_added_to_and_erased(elsewhere: RunningService, moved: str) -> None:
    client = rekognition_client(elsewhere.url)
    again = client.index_faces(
        CollectionId=moved, Image={"Bytes": photos.group()}, ExternalImageId="group.jpg"
    )
    assert len(again["FaceRecords"]) == 6
    assert client.describe_collection(CollectionId=moved)["FaceCount"] == 7  # the same image is known
    client.delete_user(CollectionId=moved, UserId="drummer")
    client.delete_collection(CollectionId=moved)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_export_that_is_stopped_leaves_no_file(
    service: RunningService, collection: str, tmp_path: Path, number: signal.Signals
) -> None:
    database = EmbeddedPostgres(service.log_path.parent)
    url = database.start().replace("+psycopg", "")
    try:
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE faces IN ACCESS EXCLUSIVE MODE")  # the export waits for it
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "export", collection, "--out", tmp_path / "party.sealed"],
                cwd=ROOT,
                env=environment(service, PASSPHRASE),
                stderr=subprocess.PIPE,
            )
            while not list(tmp_path.iterdir()):
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        assert errors == b""
        assert process.returncode == 130
        assert list(tmp_path.iterdir()) == []
    finally:
        database.stop()


@pytest.fixture
def file(service: RunningService, collection: str, tmp_path: Path) -> Path:
    """The exported file of an empty collection."""
    path = tmp_path / "empty.sealed"
    assert app(service, "export", collection, "--out", path).returncode == 0
    return path


def test_refusals_are_one_line_and_store_nothing(
    service: RunningService, elsewhere: RunningService, collection: str, file: Path, tmp_path: Path
) -> None:
    changed, secret = tmp_path / "changed.sealed", tmp_path / "passphrase"
    changed.write_bytes(file.read_bytes()[:-1])
    secret.write_text("short")
    for arguments, passphrase, says in (
        (["import", file], "twelve Letters", "the passphrase is not the file's"),
        (["import", file], "elevenchars", "at least 12 characters"),
        (["import", file], None, "set EXPORT_PASSPHRASE, or name a file with --passphrase-file"),
        (["import", file, "--passphrase-file", secret], PASSPHRASE, "at least 12 characters"),
        (["import", file, "--passphrase-file", tmp_path / "none"], PASSPHRASE, "No such file"),
        (["import", changed], PASSPHRASE, "changed or cut"),
        (["import", tmp_path / "none.sealed"], PASSPHRASE, "No such file"),
        (["import", file, "--account", "12"], PASSPHRASE, "an account is 12 digits"),
        (["import", file, "--as", "a/b"], PASSPHRASE, "a collection id is"),
        (["export", "none", "--out", tmp_path / "none.sealed"], PASSPHRASE, "none does not exist"),
        (["export", "none", "--out", file], PASSPHRASE, "empty.sealed exists already"),
    ):
        done = app(elsewhere, *arguments, passphrase=passphrase)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert done.stderr.startswith(f"svc-face-recon {arguments[0]}: ")
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert collection not in rekognition_client(elsewhere.url).list_collections()["CollectionIds"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "changed.sealed",
        "empty.sealed",
        "passphrase",
    ]


def test_the_passphrase_may_lie_in_a_file(elsewhere: RunningService, file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text(f"{PASSPHRASE}\n")
    done = app(elsewhere, "import", file, "--as", "renamed", "--passphrase-file", secret, passphrase=None)
    assert done.returncode == 0, done.stderr
    assert "renamed" in rekognition_client(elsewhere.url).list_collections()["CollectionIds"]
