"""What operators ask: is it alive, is it ready, what is it, what does it measure."""

import platform
from typing import Any

import onnxruntime
import yaml
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from app import __version__
from app.api.access import Reader, ResourcesNow
from app.errors import ServiceUnavailableError
from app.service.savings import SavingsReport

router = APIRouter(tags=["operations"])


class State(BaseModel):
    status: str


class Readiness(BaseModel):
    status: str
    database: str
    model_pack: str


class PackStatus(BaseModel):
    name: str
    face_model_version: str
    vector_size: int
    licence: str


class PoolStatus(BaseModel):
    threads: int
    waiting: int
    queue_size: int


class OperationSavings(BaseModel):
    """`price` and `dollars` are US dollars: a call's, and all calls'."""

    operation: str
    calls: int
    price: float
    dollars: float


class SavingsStatus(BaseModel):
    """What the account's calls would have cost at Rekognition, by the prices of `prices_as_of`."""

    prices_as_of: str
    currency: str
    region: str
    calls: list[OperationSavings]
    dollars: float


class Status(BaseModel):
    service: str
    version: str
    python: str
    onnxruntime: str
    postgresql: str
    model_pack: PackStatus
    runtime: str
    inference: PoolStatus
    database_pool: str
    collections: int
    users: int
    faces: int
    savings: SavingsStatus


@router.get("/live", operation_id="Live")
async def live() -> State:
    """The process runs."""
    return State(status="alive")


@router.get("/health", operation_id="Health")
async def health() -> State:
    """The process answers requests; it asks nothing of the database."""
    return State(status="healthy")


@router.get("/ready", operation_id="Ready")
async def ready(request: Request, resources: ResourcesNow) -> Readiness:
    """A search would work: the models are loaded, the database answers, has this version's tables, and
    computes with vectors. Otherwise 503 with a `reason`."""
    if request.app.state.drain.begun:
        raise ServiceUnavailableError("The service is to stop", reason="Draining")
    version = await resources.readiness.confirm()
    return Readiness(status="ready", database=version, model_pack=resources.pack.name)


@router.get("/ops/status", operation_id="Status")
async def status(resources: ResourcesNow, caller: Reader) -> Status:
    """Versions, model pack and its licence, counts, queues, and what Rekognition would have cost."""
    pack, pool = resources.pack, resources.pool
    totals = await resources.totals(caller)
    return Status(
        service=resources.settings.service_name,
        version=__version__,
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
        postgresql=await resources.database.check(),
        model_pack=PackStatus(
            name=pack.name,
            face_model_version=pack.face_model_version,
            vector_size=pack.vector_size,
            licence=pack.licence,
        ),
        runtime=resources.runtime,
        inference=PoolStatus(threads=pool.threads, waiting=pool.waiting, queue_size=pool.queue_size),
        database_pool=resources.database.pool_status(),
        collections=totals.collections,
        users=totals.users,
        faces=totals.faces,
        savings=_savings(await resources.savings.of(caller.account_id)),
    )


def _savings(report: SavingsReport) -> SavingsStatus:
    return SavingsStatus(
        prices_as_of=report.prices_as_of,
        currency=report.currency,
        region=report.region,
        calls=[
            OperationSavings(
                operation=line.operation,
                calls=line.calls,
                price=float(line.price),
                dollars=float(line.dollars),
            )
            for line in report.calls
        ],
        dollars=float(report.dollars),
    )


@router.get("/metrics", include_in_schema=False)
async def metrics(resources: ResourcesNow) -> Response:
    """Prometheus's text format."""
    await resources.gauges.refresh()
    return Response(generate_latest(resources.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/openapi.yaml", include_in_schema=False)
async def openapi_yaml(request: Request) -> Response:
    """The same document as /openapi.json."""
    document: dict[str, Any] = request.app.openapi()
    return Response(yaml.safe_dump(document, sort_keys=False), media_type="application/yaml")
