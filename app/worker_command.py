"""`python -m app worker`: claims photos, listings and rebuilds from the database and does them."""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from alembic.util import CommandError
from prometheus_client import start_http_server
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.engine.accepted import obtain
from app.engine.packs import PackNotInstalledError
from app.errors import ServiceUnavailableError
from app.jobs.lanes import lanes_of
from app.jobs.sqs import SqsIntake
from app.jobs.worker import Worker
from app.metrics import Metrics
from app.resources import Resources, open_resources
from app.settings import Settings, SettingsError, load_settings
from app.store import migrate
from app.store.database import LONG_FACTOR
from app.store.embedded import EmbeddedPostgresError, open_database
from app.tracing import open_tracer

log = logging.getLogger("app")

# A worker has nobody who waits for an answer: photos may wait for a thread for long.
_PATIENCE_S = 600.0
_WATCH_S = 10.0


def work(*, with_parent: bool) -> int:
    """Work until SIGINT or SIGTERM, or until standard input ends `with_parent`; returns the exit status."""
    try:
        settings = load_settings(**_settings_of_parent()) if with_parent else load_settings()
    except SettingsError as error:
        return _fail(error)
    logs.start(settings.log_level, settings.log_format)
    os.nice(max(0, settings.worker_nice - os.nice(0)))
    try:
        if settings.accept_model_license:
            obtain(settings)  # here, where a signal ends it
        with open_database(settings) as ready:
            # Nor for its statements: faces that a rebuild switches, guests who are matched anew.
            statements_s = LONG_FACTOR * ready.db_statement_timeout_seconds
            patient = ready.model_copy(
                update={
                    "inference_deadline_seconds": _PATIENCE_S,
                    "db_statement_timeout_seconds": statements_s,
                }
            )
            migrate.upgrade(migrate.direct_url(ready))  # whoever comes first
            asyncio.run(_work(patient, with_parent=with_parent))
    except (EmbeddedPostgresError, PackNotInstalledError, ServiceUnavailableError, SettingsError) as error:
        return _fail(error)
    except (SQLAlchemyError, CommandError) as error:
        cause = getattr(error, "orig", None) or error
        return _fail(f"the database can't be used: {str(cause).splitlines()[0]}")
    except OSError as error:
        return _fail(f"METRICS_PORT or DATA_DIR can't be used: {error}")
    except KeyboardInterrupt:
        return 130
    return 0


async def _work(settings: Settings, *, with_parent: bool) -> None:
    tracer = open_tracer(settings)
    # Without photos to index, a worker takes a third to a half less memory, and a second less to start.
    async with open_resources(settings, Metrics(tracer), models_at_once=False) as resources:
        worker = Worker(resources.database, resources.metrics, lanes_of(resources), tracer)
        _stop_by_signal(worker)
        if with_parent:
            _stop_with_parent(worker)
        if settings.metrics_port:
            start_http_server(settings.metrics_port, settings.host, resources.metrics.registry)
        await resources.work.upkeep.plan()
        log.info("worker %s works, %s threads", os.getpid(), resources.pool.threads)
        beside = [asyncio.create_task(_watch(resources))]
        if settings.sqs_queue_url is not None:
            taking = SqsIntake(settings, resources.work.intake, resources.metrics)
            beside.append(asyncio.create_task(taking.run()))
        try:
            await worker.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await asyncio.to_thread(tracer.close)
            log.info("worker %s ends", os.getpid())


async def _watch(resources: Resources) -> None:
    """Keep the gauges up to date: Prometheus is answered in a thread that can't ask the database."""
    while True:
        await resources.gauges.refresh()
        await asyncio.sleep(_WATCH_S)


def _stop_by_signal(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, worker.stop)


def _settings_of_parent() -> dict[str, Any]:
    """What the service that started this worker sends as the first line: all settings, by field name."""
    try:
        settings: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    except ValueError:
        raise SettingsError("the service that started this worker is gone") from None
    return settings


def _stop_with_parent(worker: Worker) -> None:
    """Stop when the process that started this one is gone, however it went: then the pipe ends."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        with suppress(OSError, ValueError):
            while sys.stdin.buffer.read(1):
                pass
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(worker.stop)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _fail(reason: object) -> int:
    print(f"svc-face-recon worker: {reason}", file=sys.stderr)
    return 1
