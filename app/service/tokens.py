"""Bearer tokens (JWT) of an app's users, from Supabase Auth or any other issuer with a secret or a JWKS."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt

from app.domain import Caller, Role
from app.errors import ServiceUnavailableError, UnrecognizedClientException
from app.settings import Settings

log = logging.getLogger(__name__)

# A secret never verifies what a public key should have, nor the other way round.
_SECRET_ALGORITHMS = ("HS256",)
_KEY_ALGORITHMS = ("ES256", "RS256", "EdDSA")
_LEEWAY_S = 30
_MAX_TOKEN = 8192
_JWKS_FRESH_S = 600.0
# Unknown key ids may not make the service ask the issuer at every request.
_JWKS_LEAST_S = 30.0
_JWKS_TIMEOUT_S = 5.0
_JWKS_MAX_BYTES = 256 * 1024
_ROLES = {"read": Role.READ, "write": Role.WRITE, "admin": Role.ADMIN}


class Tokens:
    """Tells whose a token is. One issuer is known, and it belongs to one account."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.supabase_jwt_secret
        self._jwks_url = settings.jwt_jwks_url
        self._issuer = settings.token_issuer
        self._audience = settings.jwt_audience
        self._role_claim = settings.jwt_role_claim.split(".")
        self._account_id = settings.jwt_account_id or settings.account_id
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None
        if self._jwks_url is not None:
            self._client = httpx.AsyncClient(timeout=_JWKS_TIMEOUT_S, trust_env=False)

    async def caller_of(self, token: str) -> Caller:
        """The app user whose token this is. Without a role of the configured claim they are SELF.

        Raises:
            UnrecognizedClientException: not a valid token of the issuer.
            ServiceUnavailableError: the issuer's keys can't be had.
        """
        if len(token) > _MAX_TOKEN:
            raise UnrecognizedClientException
        try:
            header = jwt.get_unverified_header(token)
            key, algorithm = await self._key_for(header)
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except (jwt.InvalidTokenError, jwt.PyJWKError, ValueError) as error:
            raise UnrecognizedClientException from error
        if not claims["sub"] or not claims["sub"].isprintable():  # PostgreSQL keeps no NUL
            raise UnrecognizedClientException
        return Caller(self._account_id, self._role_in(claims), subject=claims["sub"])

    def _role_in(self, claims: Mapping[str, Any]) -> Role:
        found: Any = claims
        for step in self._role_claim:
            found = found.get(step) if isinstance(found, dict) else None
        return _ROLES.get(found, Role.SELF) if isinstance(found, str) else Role.SELF

    async def _key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        algorithm = header.get("alg")
        if algorithm in _SECRET_ALGORITHMS and self._secret is not None:
            return self._secret.get_secret_value(), str(algorithm)
        if algorithm in _KEY_ALGORITHMS and self._client is not None:
            key = await self._public_key(header.get("kid"))
            if key.algorithm_name == algorithm:
                return key.key, str(algorithm)
        raise UnrecognizedClientException

    async def _public_key(self, key_id: object) -> jwt.PyJWK:
        if not isinstance(key_id, str):
            raise UnrecognizedClientException
        if key_id not in self._keys or time.monotonic() - self._asked_at > _JWKS_FRESH_S:
            async with self._asking:
                age = time.monotonic() - self._asked_at
                if age > (_JWKS_LEAST_S if key_id not in self._keys else _JWKS_FRESH_S):
                    await self._ask()
        if not self._keys:
            raise ServiceUnavailableError("The issuer of tokens can't be asked for its keys")
        if key_id not in self._keys:
            raise UnrecognizedClientException
        return self._keys[key_id]

    async def _ask(self) -> None:
        assert self._client is not None
        assert self._jwks_url is not None
        self._asked_at = time.monotonic()
        try:
            answer = await self._client.get(self._jwks_url)
            answer.raise_for_status()
            if len(answer.content) > _JWKS_MAX_BYTES:
                raise ValueError("too long")
            found = jwt.PyJWKSet.from_dict(answer.json())
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            log.warning("the issuer's keys can't be had: %s", type(error).__name__)
            if not self._keys:
                raise ServiceUnavailableError("The issuer of tokens can't be asked for its keys") from error
            return  # those that are known stay good
        self._keys = {key.key_id: key for key in found.keys if key.key_id}

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
