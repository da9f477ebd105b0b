"""`python -m app serve`: database, migrations, model pack, workers, then the web server."""

import logging
import signal
import sys
from contextlib import ExitStack, suppress

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.engine.accepted import obtain
from app.engine.packs import PackNotInstalledError
from app.engine.runtime import choose
from app.service.savings import prices_with
from app.settings import Settings, SettingsError, load_settings
from app.store import migrate
from app.store.embedded import (
    AlreadyServedError,
    EmbeddedPostgresError,
    claim_data_dir,
    open_database,
)
from app.web_server import WebServer
from app.worker_processes import WorkerProcesses

log = logging.getLogger("app")


def serve() -> int:
    """Run the service until SIGINT or SIGTERM; returns the exit status."""
    try:
        settings = load_settings()
        prices_with(settings.rekognition_prices)
        choose(settings.runtime, threads=1)
    except SettingsError as error:
        return _fail(error)
    logs.start(settings.log_level, settings.log_format)
    try:
        with ExitStack() as stack:
            # A stop while the database starts still unwinds: the database is stopped too.
            signal.signal(signal.SIGTERM, _interrupt)
            if settings.database_url is None:
                stack.enter_context(claim_data_dir(settings.data_dir))
            pack, folder = obtain(settings)
            log.info("model pack %s from %s; licence: %s", pack.name, folder, pack.licence)
            ready = stack.enter_context(open_database(settings))
            migrate.upgrade(migrate.direct_url(ready))
            stack.enter_context(WorkerProcesses(ready))
            return _run(ready)
    except (AlreadyServedError, EmbeddedPostgresError, PackNotInstalledError, SettingsError) as error:
        return _fail(error)
    except (SQLAlchemyError, CommandError) as error:
        cause = getattr(error, "orig", None) or error
        return _fail(f"the database can't be used: {str(cause).splitlines()[0]}")
    except OSError as error:
        return _fail(f"DATA_DIR can't be used: {error}")
    except KeyboardInterrupt:
        return 130


def _run(settings: Settings) -> int:
    server = WebServer(settings)
    with suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else 1


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _fail(reason: object) -> int:
    print(f"svc-face-recon: {reason}", file=sys.stderr)
    return 1
