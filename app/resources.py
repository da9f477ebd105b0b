"""The only composition root: everything heavy is built here and handed on by constructor."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.domain import Caller
from app.engine import heap, packs
from app.engine.cores import usable_cores
from app.engine.packs import Pack
from app.engine.pipeline import Pipeline
from app.engine.pool import InferencePool
from app.engine.runtime import choose
from app.engine.similarity import SimilarityCurve
from app.images.folders import FolderReader
from app.images.limits import of_settings
from app.images.s3 import S3Reader
from app.images.sources import ImageSources
from app.images.storage import PhotoStorage
from app.images.supabase import SupabaseReader
from app.images.url import UrlFetcher
from app.metrics import Metrics
from app.service.album_listing import AlbumListing
from app.service.album_photos import AlbumPhotos
from app.service.albums import Albums
from app.service.analysis import Analyser
from app.service.collections import Collections
from app.service.gauges import Gauges
from app.service.guests import Guests
from app.service.index_jobs import IndexJobs
from app.service.index_runner import IndexRunner
from app.service.intake import Intake
from app.service.joining import Joining
from app.service.keys import Keys
from app.service.links import Links
from app.service.members import Members
from app.service.photo_indexer import PhotoIndexer
from app.service.rate import CallRates, Rate
from app.service.recall import RecallSampler
from app.service.recognition import Recognition
from app.service.savings import Savings, prices_with
from app.service.tokens import Tokens
from app.service.upkeep import Upkeep
from app.service.users import Users
from app.service.vector_indexes import VectorIndexes
from app.settings import Settings
from app.store import collections as collection_store
from app.store import migrate, service_secrets
from app.store.database import Database
from app.store.readiness import Readiness
from app.store.vector_memory import VectorMemory

# How many addresses may try wrong event codes as fast as they are let.
WRONG_CODES_FACTOR = 10


@dataclass(frozen=True, slots=True)
class Totals:
    collections: int
    users: int
    faces: int


@dataclass(frozen=True, slots=True)
class Work:
    """What workers do."""

    photos: PhotoIndexer
    listings: AlbumListing
    rebuilds: IndexRunner
    upkeep: Upkeep
    indexes: VectorIndexes
    intake: Intake


@dataclass(frozen=True, slots=True)
class Resources:
    """What the doors work with."""

    settings: Settings
    metrics: Metrics
    pack: Pack
    runtime: str
    pool: InferencePool
    database: Database
    readiness: Readiness
    gauges: Gauges
    keys: Keys
    tokens: Tokens
    collections: Collections
    recognition: Recognition
    users: Users
    members: Members
    savings: Savings
    index_jobs: IndexJobs
    albums: Albums
    album_photos: AlbumPhotos
    guests: Guests
    joining: Joining
    call_rates: CallRates
    guest_rate: Rate
    join_rate: Rate
    wrong_codes_rate: Rate
    links: Links
    paging_secret: bytes
    work: Work

    async def totals(self, caller: Caller) -> Totals:
        """How much a caller can see."""
        async with self.database.session() as session:
            return Totals(
                *await collection_store.totals(
                    session, caller.account_id, caller.collections, caller.own_subject
                )
            )


def open_engine(
    settings: Settings, metrics: Metrics, *, at_once: bool = True
) -> tuple[Pipeline, InferencePool]:
    """The models of the chosen pack and the threads that run them.

    Args:
        at_once: open the models now, not with the first picture.
    Raises:
        PackNotInstalledError: the pack is not there or not whole.
        SettingsError: the chosen runtime is not there.
    """
    pack, folder = packs.require(settings.model_pack, settings.models_path)
    threads = settings.inference_threads or usable_cores()
    runtime = choose(settings.runtime, threads)
    heap.share_one()
    pipeline = Pipeline(
        pack,
        folder,
        settings.min_face_confidence,
        metrics,
        runtime,
        min_face_size=settings.min_face_size,
    )
    if at_once:
        pipeline.open()
        heap.give_back()
    pool = InferencePool(
        threads,
        settings.inference_queue_size,
        settings.inference_deadline_seconds,
        metrics,
    )
    return pipeline, pool


@asynccontextmanager
async def open_resources(
    settings: Settings, metrics: Metrics | None = None, *, models_at_once: bool = True
) -> AsyncIterator[Resources]:
    """Build the service for a database that `settings.database_url` names, and take it down again.

    Args:
        models_at_once: open the models now, not with the first picture.
    Raises:
        PackNotInstalledError: the chosen model pack is not there.
        SettingsError: the runtime or the prices can't be used.
        ServiceUnavailableError: the database can't be reached.
    """
    if settings.database_url is None:
        raise ValueError("settings name no database")
    prices = prices_with(settings.rekognition_prices)
    metrics = metrics or Metrics()
    pipeline, pool = await asyncio.to_thread(open_engine, settings, metrics, at_once=models_at_once)
    urls = UrlFetcher(
        timeout_s=settings.image_url_timeout_seconds,
        allowed=settings.image_url_allowed_networks,
        enabled=settings.image_urls,
        hosts=settings.image_url_allowed_hosts,
    )
    s3 = S3Reader(settings)
    supabase = SupabaseReader(settings)
    folders = FolderReader(settings)
    storage = PhotoStorage(settings, s3, supabase)
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        recycle_s=settings.db_pool_recycle_seconds,
        statement_timeout_s=settings.db_statement_timeout_seconds,
        pooled=settings.database_direct_url is not None,
    )
    maintenance = Database(migrate.direct_url(settings), pool_size=1, max_overflow=0, statement_timeout_s=0)
    tokens = Tokens(settings)
    savings = Savings(database, prices, metrics)
    recall = RecallSampler(database, metrics)
    memory = VectorMemory(database, settings.search_memory_mb)
    counting = asyncio.create_task(savings.run())
    try:
        sources = ImageSources(urls, s3, supabase, folders, storage, metrics)
        analyser = Analyser(sources, pipeline, pool)
        collections = Collections(database, pipeline.pack.face_model_version)
        curve = SimilarityCurve.of(pipeline.pack)
        recognition = Recognition(database, memory, collections, analyser, curve, metrics, savings, recall)
        users = Users(database, memory, collections, analyser, curve, metrics, savings)
        members = Members(
            database, memory, collections, analyser, curve, settings.fpir_target, metrics, savings
        )
        async with database.session() as session:
            paging_secret, link_secret, guest_secret = [
                await service_secrets.obtain(session, name) for name in ("paging", "links", "guests")
            ]
        limits = of_settings(settings)
        fingerprint = _fingerprint(settings, pipeline)
        albums = Albums(database, collections, sources, curve)
        album_photos = AlbumPhotos(
            database, albums, storage, pool, limits, fingerprint, settings.photo_cache_days
        )
        indexes = VectorIndexes(
            database, maintenance, settings.vector_index_faces, settings.vector_index_memory_mb
        )
        work = Work(
            PhotoIndexer(
                database,
                sources,
                storage,
                pipeline,
                pool,
                curve,
                limits,
                metrics,
                savings,
                fingerprint=fingerprint,
                max_faces=settings.max_faces_per_image,
                attempts=settings.photo_attempts,
            ),
            AlbumListing(database, album_photos, sources),
            IndexRunner(
                database,
                sources,
                analyser,
                pipeline.pack.face_model_version,
                limits,
                pool.threads,
                savings,
                indexes,
            ),
            Upkeep(database, storage, curve, indexes),
            indexes,
            Intake(database, album_photos, settings.account_id),
        )
        yield Resources(
            settings,
            metrics,
            pipeline.pack,
            pipeline.runtime.name,
            pool,
            database,
            Readiness(database, migrate.revisions()[:-1]),
            Gauges(database, memory, metrics, pipeline.pack, settings.data_dir),
            Keys(database, settings),
            tokens,
            collections,
            recognition,
            users,
            members,
            savings,
            IndexJobs(database, collections, sources),
            albums,
            album_photos,
            Guests(database, albums, analyser, curve, savings),
            Joining(database, guest_secret, settings.guest_token_minutes),
            CallRates(settings, metrics),
            Rate(settings.guest_calls_a_minute),
            Rate(settings.guest_calls_a_minute),
            Rate(WRONG_CODES_FACTOR * settings.guest_calls_a_minute),
            Links(database, sources, storage, limits, link_secret, settings.link_minutes),
            paging_secret,
            work,
        )
    finally:
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)
        await savings.aclose()
        await recall.aclose()
        await memory.aclose()
        await database.close()
        await maintenance.close()
        await urls.aclose()
        await supabase.aclose()
        await tokens.aclose()
        s3.close()
        folders.close()
        pool.close()


def _fingerprint(settings: Settings, pipeline: Pipeline) -> str:
    """Of what decides which faces a photo has, and their vectors; photos of another are indexed anew."""
    pack, least = pipeline.pack, pipeline.min_score
    parts = [pack.name, pack.face_model_version, least, settings.max_faces_per_image]
    # Photos that were indexed before there was this setting stay as they are.
    parts += [settings.min_face_size] if settings.min_face_size else []
    return hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()
