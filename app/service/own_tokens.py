"""Tokens that the service makes for itself: signed, expiring, and good for one use each."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt

_ALGORITHM = "HS256"


class InvalidTokenError(Exception):
    """None of ours, for another use, or expired."""


class OwnTokens:
    """Makes and opens tokens.

    Args:
        secret: the service's own.
        use: what they are for (`aud`); `kind` is their `typ`.
    """

    def __init__(self, secret: bytes, use: str, kind: str = "JWT") -> None:
        self._secret = secret
        self._use = use
        self._kind = kind

    def make(self, claims: Mapping[str, str], expires: datetime) -> str:
        """A token that holds some claims until it expires."""
        every = {**claims, "aud": self._use, "exp": expires}
        return jwt.encode(every, self._secret, _ALGORITHM, headers={"typ": self._kind})

    def claims(self, token: str, *required: str, leeway: timedelta = timedelta(0)) -> Mapping[str, Any]:
        """What a token holds; `leeway` lets it expire later.

        Raises:
            InvalidTokenError: not a good token, or a required claim is missing.
        """
        options: Any = {"require": ["exp", "aud", *required]}
        try:
            return jwt.decode(
                token, self._secret, [_ALGORITHM], audience=self._use, leeway=leeway, options=options
            )
        except jwt.InvalidTokenError:
            raise InvalidTokenError from None
