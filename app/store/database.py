"""The connection pool, sessions, and what a lost database means to a client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.errors import ServiceUnavailableError

CHECK_TIMEOUT_S = 5


class StatementFailedError(Exception):
    """A statement failed by a fault of ours; the text names PostgreSQL's error class and SQLSTATE."""


class Database:
    """Short sessions on a bounded pool.

    Args:
        url: `postgresql+psycopg://...`
    """

    def __init__(self, url: str, *, pool_size: int, max_overflow: int) -> None:
        self._engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_pre_ping=True,
            pool_recycle=1800,
            pool_timeout=10,
            hide_parameters=True,  # they hold ids and vectors, and errors are logged
            # A database that went silent is noticed within seconds, not by the kernel's hours.
            connect_args={
                "connect_timeout": 5,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 15_000,
            },
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed at the end, rolled back on any error.

        Raises:
            ServiceUnavailableError: the database can't be reached, or the pool is exhausted.
        """
        try:
            async with self._sessions() as session, session.begin():
                yield session
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise ServiceUnavailableError from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise ServiceUnavailableError from error
            # PostgreSQL's own text may quote a row, so only its kind goes on to the log.
            kind = type(error.orig).__name__
            raise StatementFailedError(f"{kind} {getattr(error.orig, 'sqlstate', '')}") from None

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """A transaction for reading, which sees nothing that others commit after its first statement."""
        async with self.session() as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    async def check(self) -> str:
        """Ask the database for its version; raises ServiceUnavailableError when it can't answer."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S), self.session() as session:
                return str(await session.scalar(text("SELECT current_setting('server_version')")))
        except TimeoutError as error:
            raise ServiceUnavailableError from error

    def pool_status(self) -> str:
        return self._engine.pool.status()

    async def close(self) -> None:
        await self._engine.dispose()
