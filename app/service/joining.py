"""An album's event code for a guest's token: short-lived, and good for that guest in that album alone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt

from app.domain import Caller, Role
from app.errors import AccessDeniedException, UnrecognizedClientException
from app.service.albums import spelt
from app.service.own_tokens import InvalidTokenError, OwnTokens
from app.store import albums as store
from app.store.albums import Album
from app.store.database import Database

TOKEN_TYPE = "guest+jwt"  # noqa: S105  # the kind of token, in its header
# Within this time an old token brings its owner's id along.
_RENEWABLE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Joined:
    album: Album
    guest_id: str
    token: str
    expires_at: datetime


class Joining:
    """Lets guests in."""

    def __init__(self, database: Database, secret: bytes, minutes: int) -> None:
        self._database = database
        self._tokens = OwnTokens(secret, "guest", TOKEN_TYPE)
        self._lifetime = timedelta(minutes=minutes)

    async def join(self, event_code: str, old_token: str | None) -> Joined:
        """A token for the album of an event code; with an earlier token, the guest stays who they are.

        Raises:
            AccessDeniedException: no album has this code.
        """
        async with self._database.session() as session:
            album = await store.by_code(session, spelt(event_code))
        if album is None:
            raise AccessDeniedException("No album has this event code", reason="WrongEventCode")
        guest_id = self._guest_of(old_token, album) or f"guest-{uuid4()}"
        expires_at = datetime.now(UTC).replace(microsecond=0) + self._lifetime
        claims = {"sub": guest_id, "album": str(album.album_key)}
        token = self._tokens.make(claims, expires_at)
        return Joined(album, guest_id, token, expires_at)

    async def caller_of(self, token: str) -> Caller:
        """Whose token this is.

        Raises:
            UnrecognizedClientException: none of ours, expired, or of an album that is gone.
        """
        try:
            claims = self._tokens.claims(token, "sub", "album")
            album_key = UUID(claims["album"])
        except (InvalidTokenError, ValueError):
            raise UnrecognizedClientException from None
        async with self._database.session() as session:
            album = await store.by_key(session, album_key)
        if album is None:
            raise UnrecognizedClientException
        return Caller(album.account_id, Role.GUEST, (album.album_id,), claims["sub"])

    def _guest_of(self, token: str | None, album: Album) -> str | None:
        if token is None:
            return None
        try:
            claims = self._tokens.claims(token, "sub", "album", leeway=_RENEWABLE)
        except InvalidTokenError:
            return None
        return str(claims["sub"]) if claims["album"] == str(album.album_key) else None


def is_guest_token(token: str) -> bool:
    """Whether a token says to be a guest's; nothing of it is checked."""
    try:
        return jwt.get_unverified_header(token).get("typ") == TOKEN_TYPE
    except jwt.InvalidTokenError:
        return False
