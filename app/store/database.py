"""The connection pool, sessions, and what a lost database means to a client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.errors import ServiceUnavailableError


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
            connect_args={"connect_timeout": 5},
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
            raise

    async def check(self) -> str:
        """Ask the database for its version; raises ServiceUnavailableError when it can't answer."""
        async with self.session() as session:
            return str(await session.scalar(text("SELECT current_setting('server_version')")))

    def pool_status(self) -> str:
        return self._engine.pool.status()

    async def close(self) -> None:
        await self._engine.dispose()
