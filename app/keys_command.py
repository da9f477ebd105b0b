"""`python -m app keys`: create, list and revoke access keys."""

import argparse
import asyncio
import sys

from alembic.util import CommandError
from cryptography.fernet import Fernet
from sqlalchemy.exc import SQLAlchemyError

from app.domain import Role
from app.errors import ServiceError
from app.service.keys import Keys, MasterKeyMissingError
from app.settings import Settings, SettingsError, load_settings
from app.store import migrate
from app.store.database import Database
from app.store.embedded import EmbeddedPostgresError, open_database


def run(arguments: argparse.Namespace) -> int:
    """Run one action; returns the exit status."""
    if arguments.action == "master":
        print(Fernet.generate_key().decode())
        return 0
    try:
        with open_database(load_settings()) as settings:
            migrate.upgrade(migrate.direct_url(settings))
            return asyncio.run(_act(arguments, settings))
    except (SettingsError, EmbeddedPostgresError, MasterKeyMissingError, ServiceError) as error:
        reason = str(error)
    except (SQLAlchemyError, CommandError) as error:
        reason = f"the database can't be used: {str(getattr(error, 'orig', None) or error).splitlines()[0]}"
    print(f"svc-face-recon: {reason}", file=sys.stderr)
    return 1


async def _act(arguments: argparse.Namespace, settings: Settings) -> int:
    assert settings.database_url is not None
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=1,
        max_overflow=0,
        pooled=settings.database_direct_url is not None,
    )
    keys = Keys(database, settings)
    try:
        if arguments.action == "create":
            account = arguments.account or settings.account_id
            key = await keys.create(account, Role[arguments.role.upper()], arguments.collections.split(","))
            print(f"AWS_ACCESS_KEY_ID={key.access_key_id}\nAWS_SECRET_ACCESS_KEY={key.secret}")
        elif arguments.action == "revoke":
            await keys.revoke(arguments.access_key_id)
            print(f"{arguments.access_key_id} is revoked")
        else:
            for found in await keys.every():
                state = "revoked" if found.revoked else found.role.name.lower()
                print(f"{found.access_key_id}  {found.account_id}  {state}  {','.join(found.collections)}")
    finally:
        await database.close()
    return 0
