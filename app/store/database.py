"""The connection pool, sessions, and what a lost database means to a client."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from app.errors import ServiceUnavailableError

CHECK_TIMEOUT_S = 5

# Nothing here waits for anything but the database inside a transaction: one that is idle for longer was
# forgotten, or its client is gone, and it holds locks.
_IDLE_IN_TRANSACTION_MS = 60_000
# How long a request waits for a free connection, and for a new one.
_POOL_TIMEOUT_S = 5
_CONNECT_TIMEOUT_S = 3
# A connection that rested for longer is asked whether it still answers before it is used.
_RESTED_S = 1.0
# For every statement. A plan for any values knows neither how large a collection is nor that an index serves
# it; compiling a plan, or gathering from other processes, takes longer than most searches.
_PLANNING = {"plan_cache_mode": "force_custom_plan", "jit": "off", "max_parallel_workers_per_gather": "0"}


# By how much longer statements may take that concern all of a collection: an album of 100,000 photos and
# 300,000 faces was erased in 18 s on two busy cores.
LONG_FACTOR = 20


class StatementFailedError(Exception):
    """A statement failed by a fault of ours; the text names PostgreSQL's error class and SQLSTATE."""

    def __init__(self, kind: str, sqlstate: str) -> None:
        super().__init__(f"{kind} {sqlstate}")
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """Connections in use and idle, and how many there may be."""

    in_use: int
    idle: int
    most: int


class Database:
    """Short sessions on a bounded pool.

    Args:
        url: `postgresql+psycopg://...`
        pool_size: connections that are kept.
        max_overflow: how many more may be open under load.
        recycle_s: after how long a connection is replaced.
        statement_timeout_s: what a statement may take; then it fails as ServiceUnavailableError. 0: any time.
        pooled: the address is that of a connection pooler in transaction mode, such as PgBouncer: from one
            transaction to the next the server's end is another one, so nothing may be kept at it.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        max_overflow: int,
        recycle_s: int = 1800,
        statement_timeout_s: int = 30,
        pooled: bool = False,
    ) -> None:
        self._long_ms = LONG_FACTOR * 1000 * statement_timeout_s
        preset = {
            "statement_timeout": str(1000 * statement_timeout_s),
            "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_MS),
            **_PLANNING,
        }
        self._engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_recycle=recycle_s,
            pool_timeout=_POOL_TIMEOUT_S,
            pool_use_lifo=True,  # few server processes stay warm, where all in turn would be cold
            hide_parameters=True,  # they hold ids and vectors, and errors are logged
            use_native_hstore=False,  # else the first connection looks for a type that nobody has
            # A database that went silent is noticed within seconds, not by the kernel's hours.
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 15_000,
                # A prepared statement is kept at the server's end, and PgBouncer refuses options.
                **({"prepare_threshold": None} if pooled else {"options": options_with(url, preset)}),
            },
        )
        if pooled:
            event.listen(self._engine.sync_engine, "begin", _presetting(preset))
        _ask_the_rested(self._engine.sync_engine)
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ")
        # What is preset for a transaction at a pooler needs one.
        self._reading = (
            self._engine if pooled else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._most = pool_size + max_overflow

    @asynccontextmanager
    async def session(self, *, long: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end, rolled back on any error.

        Args:
            long: its statements concern all of a collection, and may take LONG_FACTOR times as long.

        Raises:
            ServiceUnavailableError: the database can't be reached, or the pool is exhausted.
        """
        with _translated():
            async with self._engine.begin() as session:
                if long:
                    await session.execute(text(f"SET LOCAL statement_timeout = {self._long_ms}"))
                yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose statements see what is committed by then, each for itself: one trip for each.

        Raises:
            ServiceUnavailableError: the database can't be reached, or the pool is exhausted.
        """
        with _translated():
            async with self._reading.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for reading, which sees nothing that others commit after its first statement."""
        with _translated():
            async with self._snapshots.begin() as session:
                yield session

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[AsyncConnection]:
        """A connection without transactions, for statements that PostgreSQL takes only so.

        It is closed at the end, and its locks and settings end with it.

        Raises:
            ServiceUnavailableError: the database can't be reached.
        """
        with _translated():
            async with self._engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                try:
                    yield connection
                finally:
                    await connection.invalidate()

    async def check(self) -> str:
        """Ask the database for its version; raises ServiceUnavailableError when it can't answer."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S), self.session() as session:
                return str(await session.scalar(text("SELECT current_setting('server_version')")))
        except TimeoutError as error:
            raise ServiceUnavailableError from error

    def pool_usage(self) -> PoolUsage:
        """How many connections this process has open now."""
        pool = self._engine.pool
        assert isinstance(pool, QueuePool)
        return PoolUsage(pool.checkedout(), pool.checkedin(), self._most)

    def pool_status(self) -> str:
        return self._engine.pool.status()

    async def close(self) -> None:
        await self._engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the driver as those that others here know."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise ServiceUnavailableError from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise ServiceUnavailableError from error
        # PostgreSQL's own text may quote a row, so only its kind goes on to the log.
        sqlstate = getattr(error.orig, "sqlstate", None) or ""
        raise StatementFailedError(type(error.orig).__name__, sqlstate) from None


def options_with(url: str, settings: Mapping[str, str]) -> str:
    """Start-up options that set more than an address does already."""
    given = make_url(url).query.get("options", ())
    told = (given,) if isinstance(given, str) else given
    return " ".join([*told, *(f"-c {name}={value}" for name, value in settings.items())])


def _presetting(preset: Mapping[str, str]) -> Callable[[Connection], None]:
    """Sets what is preset for one transaction, at its begin."""
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in preset.items())

    def set_all(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT {calls}").close()

    return set_all


def _ask_the_rested(engine: Engine) -> None:
    """Replace connections that ended while they rested, before they are used.

    Asking each every time costs a trip; one that was used a moment ago fails its statement if it has ended.
    """

    @event.listens_for(engine, "checkin")
    def note(_: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: Any, entry: ConnectionPoolEntry, _: Any) -> None:
        since = entry.info.get("rests_since")
        if since is None or time.monotonic() - since < _RESTED_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            if not engine.dialect.is_disconnect(error, connection, None):
                raise
            raise InvalidatePoolError from error
