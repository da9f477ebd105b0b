"""`python -m app serve`: database, migrations, model pack, workers, then the web server."""

import logging
import signal
import sys
from contextlib import ExitStack, suppress
from socket import socket

import uvicorn
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from app.engine import packs
from app.engine.packs import PackNotInstalledError
from app.main import create_app
from app.service.savings import prices_with
from app.settings import Settings, SettingsError, load_settings
from app.store import migrate
from app.store.embedded import (
    AlreadyServedError,
    EmbeddedPostgresError,
    claim_data_dir,
    open_database,
)
from app.worker_processes import WorkerProcesses

log = logging.getLogger("app")


class _Server(uvicorn.Server):
    """Says where it listens as soon as it does, also when the system chose the port."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            log.info("listening on http://%s:%s, docs at http://%s:%s/docs", shown, port, shown, port)


def serve() -> int:
    """Run the service until SIGINT or SIGTERM; returns the exit status."""
    try:
        settings = load_settings()
        prices_with(settings.rekognition_prices)
    except SettingsError as error:
        return _fail(error)
    # LOG_LEVEL is ours alone: libraries log keys, addresses and signatures at DEBUG.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    log.setLevel(settings.log_level)
    try:
        with ExitStack() as stack:
            # A stop while the database starts still unwinds: the database is stopped too.
            signal.signal(signal.SIGTERM, _interrupt)
            if settings.database_url is None:
                stack.enter_context(claim_data_dir(settings.data_dir))
            pack, folder = packs.require(settings.model_pack, settings.models_path)
            log.info("model pack %s from %s; licence: %s", pack.name, folder, pack.licence)
            ready = stack.enter_context(open_database(settings))
            migrate.upgrade(migrate.direct_url(ready))
            stack.enter_context(WorkerProcesses(ready))
            return _run(ready)
    except (AlreadyServedError, EmbeddedPostgresError, PackNotInstalledError) as error:
        return _fail(error)
    except (SQLAlchemyError, CommandError) as error:
        cause = getattr(error, "orig", None) or error
        return _fail(f"the database can't be used: {str(cause).splitlines()[0]}")
    except OSError as error:
        return _fail(f"DATA_DIR can't be used: {error}")
    except KeyboardInterrupt:
        return 130


def _run(settings: Settings) -> int:
    server = _Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,  # paths and queries may hold names
            server_header=False,
            timeout_graceful_shutdown=30,
            timeout_keep_alive=75,  # longer than clients and proxies keep idle connections
        )
    )
    with suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else 1


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _fail(reason: object) -> int:
    print(f"svc-face-recon: {reason}", file=sys.stderr)
    return 1
