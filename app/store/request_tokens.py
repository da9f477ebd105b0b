"""ClientRequestTokens: what a call with a token answered, so that its repetition answers the same."""

from datetime import timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import IdempotentParameterMismatchException
from app.store.tables import client_request_tokens as tokens

KEPT = timedelta(hours=8)


async def recall(
    session: AsyncConnection, account_id: str, operation: str, token: str, fingerprint: str
) -> str | None:
    """What an earlier call with this token answered, or None.

    The token is locked until the transaction ends, so two calls at once act once.

    Raises:
        IdempotentParameterMismatchException: the token was used with other parameters.
    """
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 1))"),
        {"key": f"{account_id}/{operation}/{token}"},
    )
    row = (
        await session.execute(
            select(tokens.c.fingerprint, tokens.c.answer).where(
                tokens.c.account_id == account_id,
                tokens.c.operation == operation,
                tokens.c.token == token,
                tokens.c.created_at > func.now() - KEPT,
            )
        )
    ).first()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise IdempotentParameterMismatchException(
            f"The ClientRequestToken: {token} you have supplied is already in use."
        )
    return str(row.answer)


async def keep(
    session: AsyncConnection, account_id: str, operation: str, token: str, fingerprint: str, answer: str
) -> None:
    """Remember an answer, and forget those that are too old."""
    await session.execute(delete(tokens).where(tokens.c.created_at <= func.now() - KEPT))
    await session.execute(
        insert(tokens).values(
            account_id=account_id,
            operation=operation,
            token=token,
            fingerprint=fingerprint,
            answer=answer,
        )
    )
