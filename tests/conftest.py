"""What the tests share: a real service with real models and a real PostgreSQL, and real clients of it."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, running

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

# What an installation has without the extra; where tests have a CPU with bf16, `auto` would take OpenVINO.
os.environ.setdefault("RUNTIME", "onnxruntime")


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
