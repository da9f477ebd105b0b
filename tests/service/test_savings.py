"""Counts on a real PostgreSQL: nothing lost, nothing twice, and sums of money that are exact."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path

import psycopg
import pytest

from app.metrics import Metrics
from app.service import savings
from app.service.savings import PRICES, ChargedOperation, Savings, prices_with
from app.settings import SettingsError
from app.store import migrate, operation_counts
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres

_accounts = (f"{number:012d}" for number in count(1))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("savings"))
    address = postgres.start()
    migrate.upgrade(address)
    yield address
    postgres.stop()


@pytest.fixture
def account() -> str:
    """An account without calls."""
    return next(_accounts)


@asynccontextmanager
async def counting(url: str, prices: dict[str, Decimal] | None = None) -> AsyncIterator[Savings]:
    """The savings of a process of its own."""
    database = Database(url, pool_size=2, max_overflow=8)
    try:
        yield Savings(database, prices or prices_with({}), Metrics())
    finally:
        await database.close()


async def calls_of(one: Savings, account: str) -> dict[str, int]:
    return {line.operation: line.calls for line in (await one.of(account)).calls}


def stored(url: str, account: str) -> dict[str, int]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        rows = connection.execute(
            "SELECT operation, calls FROM operation_counts WHERE account_id = %s", (account,)
        )
        return dict(rows.fetchall())


def test_prices_are_the_tables_but_for_an_operators_own() -> None:
    prices = prices_with({"IndexFaces": 0.0008, "DetectFaces": 0})
    assert prices["IndexFaces"] == Decimal("0.0008")
    assert prices["DetectFaces"] == 0
    assert prices["CompareFaces"] == Decimal("0.001")
    assert prices_with({}) == PRICES


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"IndexFace": 0.001}, "'IndexFace' is none of AssociateFaces"),
        ({"ListFaces": 0.001}, "'ListFaces' is none of"),
        ({"IndexFaces": -0.001}, "IndexFaces must be 0 to 1000 dollars"),
        ({"IndexFaces": float("nan")}, "IndexFaces must be"),
        ({"IndexFaces": float("inf")}, "IndexFaces must be"),
    ],
)
def test_what_is_no_price_is_refused(prices: dict[str, float], said: str) -> None:
    with pytest.raises(SettingsError, match=f"wrong setting: REKOGNITION_PRICES: {said}"):
        prices_with(prices)


def test_calls_are_reported_before_and_after_a_flush_and_by_another_process(url: str, account: str) -> None:
    async def work() -> None:
        async with counting(url) as one, counting(url) as other:
            one.count(account, "IndexFaces", 3)
            one.count(next(_accounts), "IndexFaces", 50)
            one.count(account, "IndexFaces", 0)
            assert await calls_of(one, account) == {"IndexFaces": 3}
            assert await calls_of(other, account) == {}
            await one.flush()
            await one.flush()
            other.count(account, "IndexFaces")
            other.count(account, "CompareFaces")
            assert await calls_of(one, account) == {"IndexFaces": 3}
            assert await calls_of(other, account) == {"CompareFaces": 1, "IndexFaces": 4}
            await other.aclose()
            assert await calls_of(one, account) == {"CompareFaces": 1, "IndexFaces": 4}

    asyncio.run(work())


def test_money_is_exact(url: str, account: str) -> None:
    async def work() -> None:
        async with counting(url, prices_with({"DetectFaces": 0.1})) as one:
            for _ in range(3):
                one.count(account, "DetectFaces")
            one.count(account, "SearchUsers", 10**12 + 1)
            report = await one.of(account)
            assert [str(line.dollars) for line in report.calls] == ["0.3", "1000000000.001"]
            assert str(report.dollars) == "1000000000.301"
            assert [str(line.price) for line in report.calls] == ["0.1", "0.001"]
            assert (report.currency, report.region) == ("USD", "us-east-1")

    asyncio.run(work())


def test_metrics_show_calls_and_dollars(url: str, account: str) -> None:
    async def work() -> None:
        async with counting(url) as one:
            metrics = one._metrics.registry
            labels = {"operation": "IndexFaces"}
            assert metrics.get_sample_value("rekognition_calls_total", labels) == 0
            one.count(account, "IndexFaces", 4)
            assert metrics.get_sample_value("rekognition_calls_total", labels) == 4
            assert metrics.get_sample_value("rekognition_dollars_saved_total") == pytest.approx(0.004)

    asyncio.run(work())


def test_counts_wait_for_a_lost_database_with_one_warning(
    tmp_path: Path, account: str, caplog: pytest.LogCaptureFixture
) -> None:
    postgres = EmbeddedPostgres(tmp_path / "data")

    async def work() -> None:
        url = postgres.start()
        migrate.upgrade(url)
        async with counting(url) as one:
            one.count(account, "IndexFaces")
            await one.flush()
            postgres.stop()
            one.count(account, "IndexFaces")
            await one.flush()
            one.count(account, "IndexFaces")
            await one.flush()
            assert [record.getMessage() for record in caplog.records] == [
                "the counts of calls wait for the database: ServiceUnavailableError"
            ]
            await one.aclose()
            assert caplog.records[-1].getMessage() == "2 calls are missing in the counts"
            assert postgres.start() == url
            await one.flush()
            assert await calls_of(one, account) == {"IndexFaces": 3}
            assert stored(url, account) == {"IndexFaces": 3}

    with caplog.at_level(logging.WARNING, savings.__name__):
        try:
            asyncio.run(work())
        finally:
            postgres.stop()


def test_a_run_that_is_cancelled_anywhere_counts_everything_once(
    url: str, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(savings, "FLUSH_S", 0.0)

    async def work() -> None:
        total = 0
        for number in range(60):
            async with counting(url) as one:
                running = asyncio.create_task(one.run())
                for _ in range(3):
                    one.count(account, "SearchFaces")
                    await asyncio.sleep(0.0007 * (number % 20))
                total += 3
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await one.aclose()
            assert stored(url, account) == {"SearchFaces": total}

    asyncio.run(work())


def test_a_report_never_misses_or_doubles_what_is_on_its_way(url: str, account: str) -> None:
    async def work() -> None:
        async with counting(url) as one:
            stop = False

            async def flush() -> None:
                while not stop:
                    await one.flush()
                    await asyncio.sleep(0)

            flushing = asyncio.create_task(flush())
            for number in range(1, 200):
                one.count(account, "DetectFaces")
                assert await calls_of(one, account) == {"DetectFaces": number}
            stop = True
            await flushing

    asyncio.run(work())


def test_replicas_that_flush_at_once_add_up(url: str) -> None:
    """They count in opposite orders; rows locked in those orders would deadlock."""
    accounts = [next(_accounts) for _ in range(8)]
    operations: list[ChargedOperation] = ["IndexFaces", "CompareFaces", "SearchFaces", "DetectFaces"]

    async def replica(order: int) -> None:
        async with counting(url) as one:
            for _ in range(40):
                for account in accounts[::order]:
                    for operation in operations[::order]:
                        one.count(account, operation)
                await one.flush()
                assert not one._failing

    async def work() -> None:
        await asyncio.gather(replica(1), replica(-1), replica(1), replica(-1))

    asyncio.run(work())
    for account in accounts:
        assert stored(url, account) == dict.fromkeys(operations, 160)


def test_totals_since_a_day(url: str, account: str) -> None:
    async def work() -> None:
        database = Database(url, pool_size=1, max_overflow=0)
        try:
            async with database.session() as session:
                await operation_counts.add(session, account, date(2026, 1, 1), {"IndexFaces": 2})
                await operation_counts.add(session, account, date(2026, 1, 2), {"IndexFaces": 3, "A": 1})
                await operation_counts.add(session, account, date(2026, 1, 2), {})
                assert await operation_counts.totals(session, account) == {"A": 1, "IndexFaces": 5}
                since = await operation_counts.totals(session, account, since=date(2026, 1, 2))
                assert since == {"A": 1, "IndexFaces": 3}
        finally:
            await database.close()

    asyncio.run(work())
