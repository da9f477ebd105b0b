"""`python -m app export` and `import`: move a collection between installations in an encrypted file."""

import argparse
import asyncio
import os
import signal
import sys
from getpass import getpass

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from app.engine.packs import PACKS
from app.errors import ServiceError
from app.service.sealed_file import SealedFileError, confirm, new_file
from app.service.transfer import Summary, Transfers
from app.service.transfer_file import TransferFileError
from app.settings import Settings, SettingsError, load_settings
from app.store import migrate
from app.store.database import Database, StatementFailedError
from app.store.embedded import EmbeddedPostgresError, open_database
from app.store.transfer import RowRefusedError

_VARIABLE = "EXPORT_PASSPHRASE"
_REFUSALS = (
    SettingsError,
    EmbeddedPostgresError,
    ServiceError,
    SealedFileError,
    TransferFileError,
    OSError,
)


def run(arguments: argparse.Namespace) -> int:
    """Carry out `export` or `import`; returns the exit status."""
    # A stop leaves no half file, and ends the database, also where a shell lets it ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        passphrase = _passphrase(arguments)
        with open_database(load_settings()) as settings:
            migrate.upgrade(migrate.direct_url(settings))
            return asyncio.run(_act(arguments, settings, passphrase))
    except _REFUSALS as error:
        reason = str(error)
    except (StatementFailedError, RowRefusedError) as error:
        reason = f"the database refuses a row: {error}"
    except (SQLAlchemyError, CommandError) as error:
        reason = f"the database can't be used: {str(getattr(error, 'orig', None) or error).splitlines()[0]}"
    except KeyboardInterrupt:
        return 130
    print(f"svc-face-recon {arguments.command}: {reason}", file=sys.stderr)
    return 1


async def _act(arguments: argparse.Namespace, settings: Settings, passphrase: str) -> int:
    assert settings.database_url is not None
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=1,
        max_overflow=0,
        pooled=settings.database_direct_url is not None,
    )
    account = arguments.account or settings.account_id
    try:
        if arguments.command == "export":
            with new_file(arguments.out) as out:
                done = await Transfers(database).export(account, arguments.collection, out, passphrase)
        else:
            with arguments.file.open("rb") as source:
                done = await Transfers(database).load(account, source, passphrase, arguments.as_id)
    finally:
        await database.close()
    _report(arguments.command, done, settings)
    return 0


def _report(command: str, done: Summary, settings: Settings) -> None:
    print(f"{command}ed {done.users} users, {done.faces} faces of face model {done.face_model_version}")
    if done.guests_left is not None:
        print(
            f"it is an album: its settings, photos and {done.guests_left} guests stay; elsewhere it will be "
            "a plain collection"
        )
    if command == "import" and PACKS[settings.model_pack].face_model_version != done.face_model_version:
        print(f"MODEL_PACK={settings.model_pack} can't search it: its face model is another one")


def _passphrase(arguments: argparse.Namespace) -> str:
    """From the file that is named, else from the environment, else from the terminal."""
    if arguments.passphrase_file is not None:
        try:
            written: str = arguments.passphrase_file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise SealedFileError("the passphrase file is not UTF-8 text") from None
        passphrase = written.removesuffix("\n").removesuffix("\r")
    elif _VARIABLE in os.environ:
        passphrase = os.environ[_VARIABLE]
    elif sys.stdin.isatty():
        passphrase = getpass("Passphrase: ")
        if arguments.command == "export" and getpass("Once more: ") != passphrase:
            raise SealedFileError("the passphrases differ")
    else:
        raise SealedFileError(f"set {_VARIABLE}, or name a file with --passphrase-file")
    confirm(passphrase)
    return passphrase
