"""Applies the alembic migrations of the folder `migrations`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import OperationalError

from app.settings import Settings

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to a revision. Several processes may do so at once; one works, the others wait.

    Raises:
        CommandError: the database's schema is not one that this code knows, or the address is a pooler's.
        SQLAlchemyError: the database can't be used.
    """
    try:
        command.upgrade(_config(url), revision)
    except OperationalError as error:
        if "unsupported startup parameter" in str(error.orig):
            raise CommandError(
                "DATABASE_URL leads to a connection pooler: set DATABASE_DIRECT_URL to the address past it"
            ) from error
        raise


def downgrade(url: str, revision: str) -> None:
    """Take a database back to an older revision; what only newer ones hold is lost."""
    command.downgrade(_config(url), revision)


def revisions() -> list[str]:
    """All that this code knows, the oldest first; the last is the one it needs."""
    script = ScriptDirectory(str(MIGRATIONS))
    return [found.revision for found in script.walk_revisions()][::-1]


def direct_url(settings: Settings) -> str:
    """The database's own address, past a pooler: locks and limits of a session don't outlive one there.

    Raises:
        ValueError: the settings name no database.
    """
    found = settings.database_direct_url or settings.database_url
    if found is None:
        raise ValueError("settings name no database")
    return found.get_secret_value()


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config
