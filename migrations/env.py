"""Alembic's entry: one connection, one transaction, one process at a time."""

from alembic import context
from sqlalchemy import create_engine, text

from app.settings import load_settings
from app.store.tables import metadata

# Any number; the same in every replica.
MIGRATION_LOCK = 7_203_114


def database_url() -> str:
    if url := context.config.attributes.get("url"):
        return str(url)
    settings = load_settings()
    if settings.database_url is None:
        raise SystemExit("set DATABASE_URL to the database to migrate")
    return settings.database_url.get_secret_value()


engine = create_engine(database_url())
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()
engine.dispose()
