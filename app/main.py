"""The web application: lifespan, routers, middleware, one error handler."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.middleware.cors import CORSMiddleware

from app import __version__
from app.api import docs, index_jobs, members, ops, problems
from app.api.admission import Admission, Drain
from app.api.aws import door
from app.api.body_limit import BodyLimit, Streamed
from app.api.public_prefix import PublicPrefix
from app.api.request_log import RequestLog
from app.api.rest import album_guests, album_photos, albums, collections, faces
from app.metrics import Metrics
from app.resources import open_resources
from app.settings import Settings
from app.tracing import open_tracer

DESCRIPTION = """Self-hosted face recognition. `POST /` speaks the AWS Rekognition protocol (AWS JSON 1.1)
for unmodified AWS SDKs; this document is for everybody else."""


def create_app(settings: Settings) -> FastAPI:
    """The application for a database that `settings.database_url` names."""
    requests = CollectorRegistry()
    tracer = open_tracer(settings)
    metrics = Metrics(tracer)
    drain = Drain()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings, metrics) as resources:
            metrics.registry.register(requests)
            app.state.resources = resources
            yield
        await asyncio.to_thread(tracer.close)

    app = FastAPI(
        title=settings.service_name,
        version=__version__,
        description=DESCRIPTION,
        root_path=settings.root_path,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={
            status: {"model": problems.Problem, "content": {problems.MEDIA_TYPE: {}}}
            for status in ("4XX", "5XX")
        },
    )
    for router in (
        door.router,
        faces.router,
        collections.router,
        albums.router,
        album_photos.router,
        album_guests.router,
        members.router,
        index_jobs.router,
        ops.router,
    ):
        app.include_router(router)
    docs.install(app)
    problems.install(app)
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_request_bytes,
        max_buffered_bytes=settings.max_buffered_bytes,
        streamed=Streamed(albums.UPLOADS, settings.max_upload_bytes, 2 * settings.max_image_bytes),
    )
    if settings.cors_allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_allowed_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Retry-After", "x-amzn-RequestId", "x-amzn-ErrorType", "X-Request-ID"],
            max_age=3600,
        )
    if settings.root_path:
        app.add_middleware(PublicPrefix, prefix=settings.root_path)
    Instrumentator(registry=requests, excluded_handlers=["/metrics", "/live", "/health"]).instrument(app)
    app.add_middleware(Admission, most=settings.max_concurrent_requests, drain=drain, metrics=metrics)
    app.add_middleware(RequestLog, metrics=metrics, tracer=tracer)
    app.state.drain = drain
    return app
