"""What the tests share: a real service with real models and a real PostgreSQL, and real clients of it."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

from app.measure import service as services
from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, running
from app.store import migrate
from app.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

# What an installation has without the extra; where tests have a CPU with bf16, `auto` would take OpenVINO.
os.environ.setdefault("RUNTIME", "onnxruntime")


@pytest.fixture(scope="session", autouse=True)
def made_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Services find their database made, a copy of one: making it takes longer than starting it.

    Where the folder `postgres` is there already, a service makes its own.
    """
    folder = tmp_path_factory.mktemp("made")
    spawn = services._spawn

    def spawn_with_database(
        command: str, data_dir: Path, settings: Mapping[str, str], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        if command == "serve" and "DATABASE_URL" not in settings and not (data_dir / "postgres").exists():
            _copy(folder, data_dir)
        return spawn(command, data_dir, settings, log)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(services, "_spawn", spawn_with_database)
        yield


def _copy(folder: Path, data_dir: Path) -> None:
    """Copy the database that is made in a folder the first time."""
    made = folder / "made"
    if not made.exists():
        server = EmbeddedPostgres(folder)
        try:
            migrate.upgrade(server.start())
        finally:
            server.stop()
        (folder / "postgres").rename(made)
    subprocess.run(["cp", "-a", str(made), str(data_dir / "postgres")], check=True)


@pytest.fixture(scope="session")
def service() -> Iterator[RunningService]:
    """A service with default settings; tests keep apart by their collections."""
    with running() as started:
        yield started


@pytest.fixture(scope="session")
def rekognition(service: RunningService) -> "RekognitionClient":
    """boto3 with nothing changed but the endpoint."""
    return rekognition_client(service.url, 16)


@pytest.fixture(scope="session")
def http(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def service_url(service: RunningService) -> str:
    return service.url


@pytest.fixture
def collection(rekognition: "RekognitionClient") -> Iterator[str]:
    """An empty collection."""
    name = f"test-{uuid4()}"
    rekognition.create_collection(CollectionId=name)
    yield name
    rekognition.delete_collection(CollectionId=name)


@pytest.fixture
def face_count(rekognition: "RekognitionClient") -> Callable[[str], int]:
    """How many faces a collection holds."""
    return lambda name: rekognition.describe_collection(CollectionId=name)["FaceCount"]
