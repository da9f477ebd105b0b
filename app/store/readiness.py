"""Whether the database is one on which a search would work."""

import asyncio
from collections.abc import Collection

from sqlalchemy import text

from app.errors import ServiceUnavailableError
from app.store.database import Database, StatementFailedError

_TIMEOUT_S = 3.0

# One statement: it asks for the schema's version, has pgvector compute, and plans what a search reads.
_ASK = text("""
    SELECT current_setting('server_version'), (SELECT version_num FROM alembic_version),
        '[1]'::halfvec <#> '[1]'::halfvec,
        EXISTS (SELECT embedding <#> '[1]'::halfvec FROM faces WHERE account_id = '' AND collection_id = '')
""")


class Readiness:
    """Asks the database.

    Args:
        database: whose.
        older: revisions of the schema that this code is too new for.
    """

    def __init__(self, database: Database, older: Collection[str]) -> None:
        self._database = database
        self._older = frozenset(older)

    async def confirm(self) -> str:
        """The version of a database that answers, has this code's schema, and computes with vectors.

        A schema that this code doesn't know is a newer replica's, of an update that is under way: those that
        are still to be replaced go on.

        Raises:
            ServiceUnavailableError: it is not so; `reason` is DatabaseUnreachable, SchemaNotReady, or
                VectorsNotReady.
        """
        asking = asyncio.create_task(self._ask())
        # Not by a time-out that cancels: a statement whose server is silent takes long to be given up.
        done, _ = await asyncio.wait({asking}, timeout=_TIMEOUT_S)
        if not done:
            asking.cancel()
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise _unready("DatabaseUnreachable", "The database does not answer")
        version, revision = asking.result()
        if revision is None or revision in self._older:
            raise _unready("SchemaNotReady", "The database's schema is older than this service's")
        return version

    async def _ask(self) -> tuple[str, str | None]:
        try:
            async with self._database.session() as session:
                version, revision, *_ = (await session.execute(_ASK)).one()
                return str(version), revision
        except ServiceUnavailableError as error:
            raise _unready("DatabaseUnreachable", "The database can't be reached") from error
        except StatementFailedError as error:
            if error.sqlstate in _OF_TABLES:
                raise _unready("SchemaNotReady", "The database has no tables of this service") from error
            raise _unready("VectorsNotReady", "The database does not compute with vectors") from error


# Undefined tables and columns, and several versions at once.
_OF_TABLES = ("42P01", "42703", "3F000", "21000")


def _unready(reason: str, detail: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(reason=reason, detail=detail)
