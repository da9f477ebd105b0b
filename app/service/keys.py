"""Rules of access keys: made here, kept encrypted, looked up at every request."""

import logging
import re
import secrets
import string
import time
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken

from app.domain import AccessKey, Caller, Role
from app.errors import InvalidParameterException, ResourceNotFoundException
from app.settings import Settings
from app.store import access_keys as store
from app.store.access_keys import StoredKey
from app.store.database import Database

log = logging.getLogger(__name__)

# How long a revoked key may still work, and how often an unknown one asks the database.
REMEMBERED_S = 5.0
_REMEMBERED_KEYS = 10_000
_ID_CHARACTERS = string.ascii_uppercase + string.digits
_PATTERN = re.compile(r"[a-zA-Z0-9_.\-*]{1,255}")
_KEY_ID = re.compile(r"[A-Za-z0-9]{16,128}")
_ACCOUNT = re.compile(r"\d{12}")


class MasterKeyMissingError(Exception):
    """KEYS_MASTER_KEY is not set, or is not the one that the keys were encrypted with."""


class Keys:
    """Access keys of all accounts, and the bootstrap pair of the settings."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        master = settings.keys_master_key
        self._fernet = Fernet(master.get_secret_value()) if master else None
        self._bootstrap: AccessKey | None = None
        if settings.bootstrap_access_key_id and settings.bootstrap_secret_access_key:
            self._bootstrap = AccessKey(
                settings.bootstrap_access_key_id,
                settings.bootstrap_secret_access_key.get_secret_value(),
                Caller(settings.account_id, access_key_id=settings.bootstrap_access_key_id),
            )
        self._remembered: dict[str, tuple[float, AccessKey | None]] = {}

    async def find(self, access_key_id: str) -> AccessKey | None:
        """The key of this id, if it may sign requests."""
        if self._bootstrap is not None and access_key_id == self._bootstrap.access_key_id:
            return self._bootstrap
        if not _KEY_ID.fullmatch(access_key_id):
            return None
        known = self._remembered.get(access_key_id)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        async with self._database.reading() as reader:
            stored = await store.find(reader, access_key_id)
        key = None if stored is None or stored.revoked else self._open_or_none(stored)
        if len(self._remembered) >= _REMEMBERED_KEYS:
            self._remembered.clear()
        self._remembered[access_key_id] = (time.monotonic() + REMEMBERED_S, key)
        return key

    async def create(self, account_id: str, role: Role, collections: Sequence[str]) -> AccessKey:
        """Make a key; its secret is shown this once.

        Raises:
            InvalidParameterException: not an account of 12 digits, or not a pattern of collection ids.
            MasterKeyMissingError: there is nothing to encrypt the secret with.
        """
        if not _ACCOUNT.fullmatch(account_id):
            raise InvalidParameterException("an account is 12 digits")
        if not collections or not all(_PATTERN.fullmatch(pattern) for pattern in collections):
            raise InvalidParameterException("a pattern holds letters, digits and _.-*")
        if self._fernet is None:
            raise MasterKeyMissingError("set KEYS_MASTER_KEY (python -m app keys master makes one)")
        key = AccessKey(
            "AKIA" + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(16)),
            secrets.token_urlsafe(30),
            Caller(account_id, role, tuple(collections)),
        )
        sealed = self._fernet.encrypt(key.secret.encode())
        async with self._database.session() as session:
            await store.add(
                session, StoredKey(key.access_key_id, account_id, sealed, role, tuple(collections))
            )
        return key

    async def every(self) -> Sequence[StoredKey]:
        """All keys, the oldest first."""
        async with self._database.reading() as reader:
            return await store.every(reader)

    async def revoke(self, access_key_id: str) -> None:
        """Take a key's rights away; ResourceNotFoundException when it has none."""
        async with self._database.session() as session:
            if not await store.revoke(session, access_key_id):
                raise ResourceNotFoundException("there is no such key, or it is revoked already")

    def _open_or_none(self, stored: StoredKey) -> AccessKey | None:
        try:
            return self._open(stored)
        except MasterKeyMissingError as error:
            log.error("a stored access key can't be used: %s", error)
            return None

    def _open(self, stored: StoredKey) -> AccessKey:
        if self._fernet is None:
            raise MasterKeyMissingError("keys are stored, but KEYS_MASTER_KEY is not set")
        try:
            secret = self._fernet.decrypt(stored.secret_encrypted).decode()
        except InvalidToken:
            raise MasterKeyMissingError("KEYS_MASTER_KEY is not the one that made this key") from None
        return AccessKey(
            stored.access_key_id,
            secret,
            Caller(stored.account_id, stored.role, stored.collections, access_key_id=stored.access_key_id),
        )
