"""Albums: photos of twelve megapixels from a real S3 server through workers, beside the engine alone; and the
queue with 100,000 photos."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import cv2
import httpx

from app.domain import Caller, Embed
from app.engine.cores import usable_cores
from app.measure.engine import LocalEngine
from app.measure.s3_server import BUCKET, S3Server, s3_server
from app.measure.service import RunningService, running, start_worker
from app.resources import Resources, open_resources
from app.service.album_photos import Seen
from app.service.albums import AlbumWishes
from app.settings import Settings
from app.store import albums as album_store
from app.store import migrate, queue
from app.store.embedded import open_database

ROUNDS = 2
MEGAPIXELS = 12.0
FEW_FACES = 5
PREFIX = "bench/"
QUEUED = 100_000
BATCH = 500
CLAIMS = 1000
STATUS_CALLS = 100
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Rates:
    """Photos a second: of the engine alone, and of so many workers end to end."""

    photos: int
    cores: int
    engine: float
    workers: dict[int, float]


@dataclass(frozen=True, slots=True)
class QueueBench:
    """Seconds to enter photos; milliseconds of a claim and its end, early and late, and of a status."""

    photos: int
    enqueue_s: float
    first_claim_ms: float
    last_claim_ms: float
    status_ms: float


def measure_albums(settings: Settings, photos: Sequence[Path]) -> tuple[Rates, Rates]:
    """All photos enlarged to twelve megapixels, and those of them with at most five faces."""
    with tempfile.TemporaryDirectory() as folder, s3_server() as s3:
        enlarged = [_enlarged(photo, Path(folder)) for photo in photos]
        engine = LocalEngine(settings)
        try:
            found = engine.analyse_all(enlarged, Embed.ALL)
            few = [photo for photo, faces in zip(enlarged, found, strict=True) if len(faces) <= FEW_FACES]
            return (
                _rates(settings, engine, s3, enlarged, f"{PREFIX}all/"),
                _rates(settings, engine, s3, few, f"{PREFIX}few/"),
            )
        finally:
            engine.close()


def _rates(
    settings: Settings, engine: LocalEngine, s3: S3Server, photos: Sequence[Path], prefix: str
) -> Rates:
    client = s3.client()
    with ThreadPoolExecutor(4) as threads:
        list(
            threads.map(
                lambda photo: client.put_object(
                    Bucket=BUCKET, Key=prefix + photo.name, Body=photo.read_bytes(), ContentType="image/jpeg"
                ),
                photos,
            )
        )
    client.close()
    alone: list[float] = []
    through: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        engine.analyse_all(photos, Embed.ALL)
        alone.append(len(photos) / (time.perf_counter() - began))
        for workers, rates in through.items():
            rates.append(_through_workers(settings, s3, prefix, len(photos), workers))
    return Rates(
        len(photos),
        usable_cores(),
        statistics.median(alone),
        {workers: statistics.median(rates) for workers, rates in through.items()},
    )


def _through_workers(settings: Settings, s3: S3Server, prefix: str, photos: int, workers: int) -> float:
    """Photos a second from the call that lists the source to the last photo's commit."""
    with ExitStack() as stack:
        wanted = s3.settings(S3_ALLOWED=BUCKET, MODEL_PACK=settings.model_pack)
        service = stack.enter_context(running(**wanted))
        threads = str(max(1, usable_cores() // workers))
        for _ in range(workers):
            stack.enter_context(_worker(service, INFERENCE_THREADS=threads, **wanted))
        with httpx.Client(base_url=f"{service.url}/api/v1", timeout=60) as http:
            http.post("/albums", json={"id": "bench", "source": f"s3://{BUCKET}/{prefix}"}).raise_for_status()
            began = time.perf_counter()
            http.post("/albums/bench/process").raise_for_status()
            while True:
                status = http.get("/albums/bench/status").json()
                if status["finished"]:
                    break
                time.sleep(_POLL_S)
            seconds = time.perf_counter() - began
        if status["done"] != photos:
            raise RuntimeError(f"{photos - status['done']} photos were not indexed")
    return photos / seconds


@contextmanager
def _worker(service: RunningService, **settings: str) -> Iterator[RunningService]:
    worker = start_worker(service.log_path.parent, **settings)
    try:
        yield worker
    finally:
        worker.stop()


def _enlarged(photo: Path, folder: Path) -> Path:
    image = cv2.imread(str(photo))
    assert image is not None
    height, width = image.shape[:2]
    scale = (MEGAPIXELS * 1e6 / (height * width)) ** 0.5
    size = (round(width * scale), round(height * scale))
    path = folder / f"{photo.stem}.jpg"
    cv2.imwrite(
        str(path), cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), [cv2.IMWRITE_JPEG_QUALITY, 90]
    )
    return path


def measure_queue(settings: Settings) -> QueueBench:
    """Rows only: enter photos page by page, then claim and end them all."""
    with tempfile.TemporaryDirectory() as folder:
        own = settings.model_copy(update={"data_dir": Path(folder), "database_url": None})
        with open_database(own) as ready:
            assert ready.database_url is not None
            migrate.upgrade(ready.database_url.get_secret_value())
            return asyncio.run(_queue(ready))


async def _queue(settings: Settings) -> QueueBench:
    async with open_resources(settings) as resources:
        caller = Caller(settings.account_id)
        wishes = AlbumWishes("bench", None, None, 80.0, None, None, False)
        album = await resources.albums.create(caller, wishes)
        began = time.perf_counter()
        for first in range(0, QUEUED, BATCH):
            seen = [
                Seen(f"s3://photos/bench/{number:06}.jpg", f"{number:06}.jpg", str(uuid4()))
                for number in range(first, first + BATCH)
            ]
            async with resources.database.session() as session:
                await resources.album_photos.enter(session, album, seen)
        enqueue_s = time.perf_counter() - began
        status_ms = []
        for _ in range(STATUS_CALLS):
            began = time.perf_counter()
            await resources.albums.progress(caller, "bench")
            status_ms.append(1000 * (time.perf_counter() - began))
        lane = queue.photos_lane(album.face_model_version)
        first_ms = await _claims(resources, lane, CLAIMS)
        await _drain(resources, lane, QUEUED - 2 * CLAIMS)
        last_ms = await _claims(resources, lane, CLAIMS)
        async with resources.database.session() as session:
            counts = await album_store.counts(session, album.place)
        if counts.pending != QUEUED:
            raise RuntimeError("the counts of photos are wrong")
        return QueueBench(QUEUED, enqueue_s, first_ms, last_ms, statistics.median(status_ms))


async def _claims(resources: Resources, lane: str, count: int) -> float:
    """The median milliseconds of claiming one job and ending it."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        async with resources.database.session() as session:
            (claim,) = await queue.claim(session, lane, 1, timedelta(minutes=1))
        async with resources.database.session() as session:
            await queue.finish(session, claim)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


async def _drain(resources: Resources, lane: str, count: int) -> None:
    """Claim and end jobs one transaction at a time, several in each."""
    left = count
    while left:
        async with resources.database.session() as session:
            claimed = await queue.claim(session, lane, min(100, left), timedelta(minutes=1))
            for claim in claimed:
                await queue.finish(session, claim)
        left -= len(claimed)
