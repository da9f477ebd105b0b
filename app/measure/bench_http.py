"""SearchFacesByImage over HTTP under closed-loop clients, on a service started for it, and the parts."""

import io
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
from PIL import Image

from app.domain import Embed
from app.measure.engine import LocalEngine, analyse
from app.measure.loads import Load
from app.measure.pairs_http import rekognition
from app.measure.service import running
from app.settings import Settings

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

COLLECTION = "bench"
INDEXED_PHOTOS = 60
SEARCHES = 200
CLIENTS = (1, 16, 50)
PROBE_SIDE_PX = 640


@dataclass(frozen=True, slots=True)
class SearchBench:
    """`faces` in the collection that was searched; memory is the service's resident set.

    Each load comes with the mean of the database's part of a search, in milliseconds. `engine_ms` is what
    the engine needs for such a photo on one core while the others rest, and `engine_per_second` how many it
    does on all cores, without a service.
    """

    faces: int
    engine_ms: float
    engine_per_second: float
    loads: tuple[tuple[Load, float], ...]
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
        loads = tuple(_load(client, service.url, probes, clients) for clients in CLIENTS)
        after = memory.memory_info().rss
        faces = client.describe_collection(CollectionId=COLLECTION)["FaceCount"]
    engine_ms, per_second = _engine_alone(settings, probes)
    return SearchBench(faces, engine_ms, per_second, loads, before / 1e6, after / 1e6)


def _engine_alone(settings: Settings, probes: Sequence[bytes]) -> tuple[float, float]:
    """Milliseconds of one probe, and probes a second on all cores."""
    engine = LocalEngine(settings)

    def look(probe: bytes) -> float:
        began = time.perf_counter()
        analyse(engine.pipeline, probe, Embed.LARGEST, alone=True)
        return 1000 * (time.perf_counter() - began)

    try:
        alone = [look(probe) for probe in (*probes, *probes)][len(probes) :]
        many = [probes[turn % len(probes)] for turn in range(SEARCHES)]
        began = time.perf_counter()
        engine.map(look, many)
        return statistics.median(alone), SEARCHES / (time.perf_counter() - began)
    finally:
        engine.close()


def _searched(url: str) -> tuple[float, float]:
    """How many searches the service's database has done, and in how many seconds."""
    found = {"count": 0.0, "sum": 0.0}
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        for field in found:
            if line.startswith(f'face_stage_seconds_{field}{{stage="search"}}'):
                found[field] = float(line.split()[-1])
    return found["count"], found["sum"]


def _load(client: "RekognitionClient", url: str, probes: Sequence[bytes], clients: int) -> tuple[Load, float]:
    def search(turn: int) -> float:
        began = time.perf_counter()
        client.search_faces_by_image(CollectionId=COLLECTION, Image={"Bytes": probes[turn % len(probes)]})
        return 1000 * (time.perf_counter() - began)

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(search, range(2 * clients)))
        count, seconds_before = _searched(url)
        began = time.perf_counter()
        times = list(threads.map(search, range(SEARCHES)))
        seconds = time.perf_counter() - began
    count_after, seconds_after = _searched(url)
    search_ms = 1000 * (seconds_after - seconds_before) / (count_after - count)
    return Load.of(clients, times, SEARCHES / seconds), search_ms


def _has_face(client: "RekognitionClient", image: bytes) -> bool:
    return bool(client.detect_faces(Image={"Bytes": image})["FaceDetails"])


def _jpeg(photo: Path, longest: int) -> bytes:
    out = io.BytesIO()
    with Image.open(photo) as image:
        image.thumbnail((longest, longest))
        image.convert("RGB").save(out, "JPEG", quality=90)
    return out.getvalue()
