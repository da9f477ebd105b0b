"""What the calls would have cost at AWS: those that Rekognition charges, counted by account and operation.

AWS's prices are on its public page, https://aws.amazon.com/rekognition/pricing/. The table below was
written from memory, as of the month that it names, and not read from there: the operator must check it
and set what differs in REKOGNITION_PRICES. Only the first tier is here (up to a million images a
month): no cheaper tiers, no free tier, no price of stored faces, no price of storage or transfer.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal, TypeAlias, get_args

from app.errors import ServiceUnavailableError
from app.metrics import Metrics
from app.settings import SettingsError
from app.store import operation_counts as store
from app.store.database import Database, StatementFailedError

log = logging.getLogger(__name__)

ChargedOperation: TypeAlias = Literal[
    # AWS's Group 1
    "AssociateFaces",
    "CompareFaces",
    "DisassociateFaces",
    "IndexFaces",
    "SearchFaces",
    "SearchFacesByImage",
    "SearchUsers",
    "SearchUsersByImage",
    # AWS's Group 2
    "DetectFaces",
]
"""The operations served here that AWS charges by the call; the others are free there and not counted."""

PRICES_AS_OF = "2025-01"
PRICES_REGION = "us-east-1"
CURRENCY = "USD"
# Dollars a call. Both groups cost the same in the first tier.
PRICES: Mapping[str, Decimal] = dict.fromkeys(get_args(ChargedOperation), Decimal("0.001"))
MOST_DOLLARS = 1000

# How much a killed process may forget.
FLUSH_S = 10.0


@dataclass(frozen=True, slots=True)
class OperationSavings:
    """`price` is dollars a call, `dollars` what all calls come to."""

    operation: str
    calls: int
    price: Decimal
    dollars: Decimal


@dataclass(frozen=True, slots=True)
class SavingsReport:
    """By operation, in the order of their names; all calls ever at today's prices."""

    prices_as_of: str
    currency: str
    region: str
    calls: tuple[OperationSavings, ...]
    dollars: Decimal


def prices_with(overrides: Mapping[str, float]) -> dict[str, Decimal]:
    """Dollars a call by operation, with an operator's own prices over the table's.

    Raises:
        SettingsError: an operation that isn't charged, or no price.
    """
    for operation, price in overrides.items():
        if operation not in PRICES:
            raise SettingsError(
                f"wrong setting: REKOGNITION_PRICES: {operation[:64]!r} is none of {', '.join(PRICES)}"
            )
        if not 0 <= price <= MOST_DOLLARS:  # nor NaN
            raise SettingsError(
                f"wrong setting: REKOGNITION_PRICES: {operation} must be 0 to {MOST_DOLLARS} dollars"
            )
    # By way of the text: 0.0008 as it was written, not the nearest binary fraction.
    return {**PRICES, **{operation: Decimal(str(price)) for operation, price in overrides.items()}}


class Savings:
    """Counts calls in memory and adds them to the database's counts from time to time.

    Every process has one and adds its own; a process that is killed forgets at most FLUSH_S of calls.
    Only what was answered is to be counted.

    Args:
        prices: dollars a call by operation, of `prices_with`.
    """

    def __init__(self, database: Database, prices: Mapping[str, Decimal], metrics: Metrics) -> None:
        self._database = database
        self._prices = prices
        self._metrics = metrics
        self._pending: Counter[tuple[str, date, str]] = Counter()
        # Held while counts move from here to the database, so that nobody sees them in both or neither.
        self._moving = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None
        self._failing = False
        for operation in self._prices:
            metrics.rekognition_calls.labels(operation)  # shown from the start, as 0

    def count(self, account_id: str, operation: ChargedOperation, calls: int = 1) -> None:
        """Count calls that were answered; cheap, and never fails. For the thread of the event loop."""
        if calls <= 0:
            return
        self._pending[account_id, datetime.now(UTC).date(), operation] += calls
        self._metrics.rekognition_calls.labels(operation).inc(calls)
        self._metrics.rekognition_dollars_saved.inc(float(self._prices[operation] * calls))

    async def run(self) -> None:
        """Flush every FLUSH_S until cancelled; a flush that has begun is not cut off."""
        while True:
            await asyncio.sleep(FLUSH_S)
            self._flushing = asyncio.create_task(self.flush())
            await asyncio.shield(self._flushing)

    async def flush(self) -> None:
        """Add what was counted to the database; what it doesn't take is kept for the next time."""
        async with self._moving:
            moved = Counter(self._pending)
            if not moved:
                return
            try:
                async with self._database.session() as session:
                    for (account_id, day), counts in _by_place(moved):
                        await store.add(session, account_id, day, counts)
            except (ServiceUnavailableError, StatementFailedError) as error:
                if not self._failing:
                    log.warning("the counts of calls wait for the database: %s", type(error).__name__)
                self._failing = True
                return
            self._failing = False
            self._pending -= moved  # keeps what was counted meanwhile, and no zeros

    async def aclose(self) -> None:
        """Flush for the last time; call it before the database closes."""
        await self.flush()
        if self._pending:
            log.warning("%d calls are missing in the counts", self._pending.total())

    async def of(self, account_id: str) -> SavingsReport:
        """What an account would have paid, with what this process has not flushed yet.

        Other processes' calls of the last FLUSH_S may be missing.

        Raises:
            ServiceUnavailableError: the database can't be reached.
        """
        async with self._moving:
            async with self._database.reading() as reader:
                calls = Counter(await store.totals(reader, account_id))
            for (owner, _, operation), count in self._pending.items():
                if owner == account_id:
                    calls[operation] += count
        lines = tuple(self._line(operation, calls[operation]) for operation in sorted(calls))
        dollars = sum((line.dollars for line in lines), Decimal(0))
        return SavingsReport(PRICES_AS_OF, CURRENCY, PRICES_REGION, lines, dollars)

    def _line(self, operation: str, calls: int) -> OperationSavings:
        # Another version of the service may have counted what this one doesn't know.
        price = self._prices.get(operation, Decimal(0))
        return OperationSavings(operation, calls, price, price * calls)


def _by_place(
    counts: Mapping[tuple[str, date, str], int],
) -> Iterable[tuple[tuple[str, date], dict[str, int]]]:
    """Counts by operation of each account and day, in one order everywhere: replicas don't deadlock."""
    places: dict[tuple[str, date], dict[str, int]] = {}
    for account_id, day, operation in sorted(counts):
        places.setdefault((account_id, day), {})[operation] = counts[account_id, day, operation]
    return places.items()
