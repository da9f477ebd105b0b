"""SearchFacesByImage over HTTP under closed-loop clients, on a service started for it."""

import io
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from PIL import Image

from app.measure.pairs_http import rekognition
from app.measure.service import running
from app.settings import Settings

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

COLLECTION = "bench"
INDEXED_PHOTOS = 60
SEARCHES = 200
CLIENTS = (1, 16)
PROBE_SIDE_PX = 640


@dataclass(frozen=True, slots=True)
class Load:
    clients: int
    p50_ms: float
    p95_ms: float
    per_second: float


@dataclass(frozen=True, slots=True)
class SearchBench:
    """`faces` in the collection that was searched; memory is the service's resident set."""

    faces: int
    loads: tuple[Load, ...]
    memory_before_mb: float
    memory_after_mb: float


def measure_search(settings: Settings, photos: Sequence[Path]) -> SearchBench:
    """Index some of the photos, then search with each, reduced to a selfie's size."""
    with running(MODEL_PACK=settings.model_pack) as service:
        client = rekognition(service.url, max(CLIENTS))
        client.create_collection(CollectionId=COLLECTION)
        probes = []
        for photo in photos[:INDEXED_PHOTOS]:
            indexed = client.index_faces(CollectionId=COLLECTION, Image={"Bytes": _jpeg(photo, 1600)})
            if indexed["FaceRecords"]:
                probes.append(_jpeg(photo, PROBE_SIDE_PX))
        probes = [probe for probe in probes if _has_face(client, probe)]
        memory = psutil.Process(service.process.pid)
        before = memory.memory_info().rss
        loads = tuple(_load(client, probes, clients) for clients in CLIENTS)
        after = memory.memory_info().rss
        faces = client.describe_collection(CollectionId=COLLECTION)["FaceCount"]
    return SearchBench(faces, loads, before / 1e6, after / 1e6)


def _load(client: "RekognitionClient", probes: Sequence[bytes], clients: int) -> Load:
    def search(turn: int) -> float:
        began = time.perf_counter()
        client.search_faces_by_image(CollectionId=COLLECTION, Image={"Bytes": probes[turn % len(probes)]})
        return 1000 * (time.perf_counter() - began)

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(search, range(2 * clients)))
        began = time.perf_counter()
        times = sorted(threads.map(search, range(SEARCHES)))
        seconds = time.perf_counter() - began
    return Load(clients, statistics.median(times), times[int(0.95 * len(times))], SEARCHES / seconds)


def _has_face(client: "RekognitionClient", image: bytes) -> bool:
    return bool(client.detect_faces(Image={"Bytes": image})["FaceDetails"])


def _jpeg(photo: Path, longest: int) -> bytes:
    out = io.BytesIO()
    with Image.open(photo) as image:
        image.thumbnail((longest, longest))
        image.convert("RGB").save(out, "JPEG", quality=90)
    return out.getvalue()
