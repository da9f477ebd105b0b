"""The only composition root: everything heavy is built here and handed on by constructor."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.domain import Caller
from app.engine import packs
from app.engine.packs import Pack
from app.engine.pipeline import Pipeline
from app.engine.pool import InferencePool
from app.engine.runtime import usable_cores
from app.engine.similarity import SimilarityCurve
from app.images.limits import of_settings
from app.images.s3 import S3Reader
from app.images.sources import ImageSources
from app.images.supabase import SupabaseReader
from app.images.url import UrlFetcher
from app.metrics import Metrics
from app.service.analysis import Analyser
from app.service.collections import Collections
from app.service.index_jobs import IndexJobs
from app.service.index_runner import IndexRunner
from app.service.keys import Keys
from app.service.members import Members
from app.service.recognition import Recognition
from app.service.tokens import Tokens
from app.service.users import Users
from app.settings import Settings
from app.store import collections as collection_store
from app.store import service_secrets
from app.store.database import Database


@dataclass(frozen=True, slots=True)
class Totals:
    collections: int
    users: int
    faces: int


@dataclass(frozen=True, slots=True)
class Resources:
    """What the doors work with."""

    settings: Settings
    metrics: Metrics
    pack: Pack
    pool: InferencePool
    database: Database
    keys: Keys
    tokens: Tokens
    collections: Collections
    recognition: Recognition
    users: Users
    members: Members
    index_jobs: IndexJobs
    index_runner: IndexRunner
    paging_secret: bytes

    async def totals(self, caller: Caller) -> Totals:
        """How much a caller can see."""
        async with self.database.session() as session:
            return Totals(*await collection_store.totals(session, caller.account_id, caller.collections))


def open_engine(settings: Settings, metrics: Metrics) -> tuple[Pipeline, InferencePool]:
    """The models of the chosen pack and the threads that run them.

    Raises:
        PackNotInstalledError: the pack is not there or not whole.
    """
    # insightface 2.1 calls a scikit-image function that warns at every face.
    warnings.filterwarnings("ignore", category=FutureWarning, module="insightface")
    pack, folder = packs.require(settings.model_pack, settings.models_path)
    pipeline = Pipeline(pack, folder, settings.min_face_confidence, metrics)
    pool = InferencePool(
        settings.inference_threads or usable_cores(),
        settings.inference_queue_size,
        settings.inference_deadline_seconds,
        metrics,
    )
    return pipeline, pool


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Build the service for a database that `settings.database_url` names, and take it down again.

    Raises:
        PackNotInstalledError: the chosen model pack is not there.
        ServiceUnavailableError: the database can't be reached.
    """
    if settings.database_url is None:
        raise ValueError("settings name no database")
    metrics = Metrics()
    pipeline, pool = await asyncio.to_thread(open_engine, settings, metrics)
    urls = UrlFetcher(
        timeout_s=settings.image_url_timeout_seconds,
        allowed=settings.image_url_allowed_networks,
        enabled=settings.image_urls,
        hosts=settings.image_url_allowed_hosts,
    )
    s3 = S3Reader(settings)
    supabase = SupabaseReader(settings)
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
    )
    tokens = Tokens(settings)
    running: asyncio.Task[None] | None = None
    try:
        sources = ImageSources(urls, s3, supabase, metrics)
        analyser = Analyser(sources, pipeline, pool, metrics)
        collections = Collections(database, pipeline.pack.face_model_version)
        curve = SimilarityCurve.of(pipeline.pack)
        recognition = Recognition(database, collections, analyser, curve, metrics)
        users = Users(database, collections, analyser, curve)
        members = Members(database, collections, analyser, curve, settings.fpir_target)
        async with database.session() as session:
            paging_secret = await service_secrets.obtain(session, "paging")
        runner = IndexRunner(
            database,
            sources,
            analyser,
            pipeline.pack.face_model_version,
            of_settings(settings),
            pool.threads,
        )
        running = asyncio.create_task(runner.run())
        yield Resources(
            settings,
            metrics,
            pipeline.pack,
            pool,
            database,
            Keys(database, settings),
            tokens,
            collections,
            recognition,
            users,
            members,
            IndexJobs(database, collections, sources),
            runner,
            paging_secret,
        )
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await database.close()
        await urls.aclose()
        await supabase.aclose()
        await tokens.aclose()
        s3.close()
        pool.close()
