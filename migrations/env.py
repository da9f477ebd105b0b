"""Alembic's entry: one connection, one transaction, one process at a time."""

import logging
from collections.abc import Collection
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import NullPool, create_engine, text

from app.settings import load_settings
from app.store import migrate
from app.store.database import options_with
from app.store.tables import metadata

log = logging.getLogger("app.migrations")

# Any number; the same in every replica.
MIGRATION_LOCK = 7_203_114


def database_url() -> str:
    if url := context.config.attributes.get("url"):
        return str(url)
    settings = load_settings()
    if settings.database_url is None:
        raise SystemExit("set DATABASE_URL to the database to migrate")
    return migrate.direct_url(settings)


def tell(ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Any) -> None:
    """Alembic passes these by name."""
    log.info("migration %s %s", step.up_revision_id, "applied" if step.is_upgrade else "taken back")


url = database_url()
# A migration, and the wait for another replica's, take as long as they take.
# No pool: also after an error no connection stays open.
engine = create_engine(
    url, poolclass=NullPool, connect_args={"options": options_with(url, {"statement_timeout": "0"})}
)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, on_version_apply=tell)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()
