"""The queue on a real PostgreSQL: nobody works on a job of another, and nothing is lost or counted twice."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest

from app.errors import ServiceUnavailableError
from app.store import albums, collections, migrate, photos, queue
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres
from app.store.photos import NewPhoto, State
from app.store.queue import Claim, Place

ACCOUNT = "111111111111"
LEASE = timedelta(minutes=1)
OVER = timedelta(0)
"""A lease that is over at once."""
KIND = "photo"
ENDS: tuple[State, ...] = ("done", "failed", "skipped")
STATES = ("pending", *ENDS)

T = TypeVar("T")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("queue"))
    address = postgres.start()
    migrate.upgrade(address)
    yield address
    postgres.stop()


@pytest.fixture
def lane() -> str:
    """A lane without jobs; subjects are its own, too, by beginning with it."""
    return f"lane {uuid4()}"[:40]


def use(url: str, work: Callable[[Database], Awaitable[T]]) -> T:
    async def inside() -> T:
        database = Database(url, pool_size=10, max_overflow=0)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(inside())


def subjects(lane: str, count: int) -> list[str]:
    return [f"{lane} {number:03}" for number in range(count)]


async def put(database: Database, lane: str, names: list[str], **more: Any) -> None:
    async with database.session() as session:
        await queue.put(session, lane, KIND, names, **more)


async def claim(database: Database, lane: str, most: int = 100, lease: timedelta = LEASE) -> list[Claim]:
    async with database.session() as session:
        return await queue.claim(session, lane, most, lease)


async def finish(database: Database, claimed: Claim) -> bool:
    async with database.session() as session:
        return await queue.finish(session, claimed)


async def album(database: Database) -> Place:
    """An album without photos."""
    place = (ACCOUNT, f"album-{uuid4()}")
    async with database.session() as session:
        await collections.create(session, *place, "1.0")
        await albums.create(
            session, place, uuid4(), title=None, source=None, threshold=80, retention_days=None,
            event_code=None, recompress=False,
        )  # fmt: skip
    return place


def test_two_who_claim_at_the_same_time_never_get_the_same_job(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        await put(database, lane, subjects(lane, 40))
        async with database.session() as one, database.session() as other:
            first = await queue.claim(one, lane, 15, LEASE)
            second = await queue.claim(other, lane, 15, LEASE)  # does not wait for the first
            third = await queue.claim(one, lane, 15, LEASE)
        claimed = [job.subject for job in (*first, *second, *third)]
        assert [len(first), len(second), len(third)] == [15, 15, 10]
        assert sorted(claimed) == subjects(lane, 40)
        assert len({job.lease for job in (*first, *second, *third)}) == 40
        assert await claim(database, lane) == []

    use(url, work)


def test_many_workers_do_every_job_exactly_once(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        done: list[str] = []

        async def worker() -> None:
            while claimed := await claim(database, lane, 3):
                for job in claimed:
                    assert await finish(database, job)
                    done.append(job.subject)

        await put(database, lane, subjects(lane, 100))
        await asyncio.gather(*(worker() for _ in range(8)))
        assert sorted(done) == subjects(lane, 100)

    use(url, work)


def test_a_claim_that_is_rolled_back_is_none(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        await put(database, lane, [lane])
        with suppress(ServiceUnavailableError):
            async with database.session() as session:
                assert len(await queue.claim(session, lane, 1, LEASE)) == 1
                raise ServiceUnavailableError
        (job,) = await claim(database, lane)
        assert job.attempts == 1

    use(url, work)


def test_jobs_are_claimed_in_the_order_in_which_they_came_and_only_of_their_lane(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        names = subjects(lane, 4)
        for name in (names[2], names[0], names[3], names[1]):
            await put(database, lane, [name])
        await put(database, f"{lane} b", [f"{lane} other"])
        order = [(await claim(database, lane, 1))[0].subject for _ in range(4)]
        assert order == [names[2], names[0], names[3], names[1]]
        assert await claim(database, lane) == []
        assert [job.subject for job in await claim(database, f"{lane} b")] == [f"{lane} other"]

    use(url, work)


def test_the_job_of_a_killed_worker_comes_back_before_younger_ones(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        old, young = subjects(lane, 2)
        await put(database, lane, [old])
        (lost,) = await claim(database, lane, lease=OVER)
        await put(database, lane, [young])
        first, second = await claim(database, lane, 1), await claim(database, lane, 1)
        assert [(job.subject, job.attempts) for job in (*first, *second)] == [(old, 2), (young, 1)]
        # Whoever had it before has nothing to say any more.
        assert not await finish(database, lost)
        async with database.session() as session:
            assert not await queue.hold(session, lost)
            assert not await queue.give_back(session, lost)
            await queue.renew(session, [lost], OVER)
        assert await claim(database, lane) == []
        assert await finish(database, first[0])
        assert not await finish(database, first[0])

    use(url, work)


def test_a_lease_that_is_renewed_keeps_the_job(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        kept, lost = subjects(lane, 2)
        await put(database, lane, [kept, lost])
        mine = {job.subject: job for job in await claim(database, lane, lease=OVER)}
        async with database.session() as session:
            await queue.renew(session, [mine[kept]], LEASE)
        assert [job.subject for job in await claim(database, lane)] == [lost]
        assert await finish(database, mine[kept])

    use(url, work)


def test_a_job_that_is_put_again_begins_anew_also_while_it_is_in_hand(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        await put(database, lane, [lane])
        (before,) = await claim(database, lane)
        await put(database, lane, [lane, lane])
        assert not await finish(database, before)
        (after,) = await claim(database, lane)
        assert (after.job_id, after.attempts) == (before.job_id, 1)
        assert await finish(database, after)
        assert await claim(database, lane) == []

    use(url, work)


def test_a_job_that_is_put_only_if_absent_stays_as_it_is(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        for _ in range(2):
            async with database.session() as session:
                await queue.put_if_absent(session, lane, "retention", lane)
        (mine,) = await claim(database, lane)
        async with database.session() as session:
            await queue.put_if_absent(session, lane, "retention", lane)
            assert await queue.is_queued(session, "retention", lane)
        assert await claim(database, lane) == []
        assert await finish(database, mine)

    use(url, work)


def test_a_job_that_is_given_back_waits_and_counts_its_attempts(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        later, now, untried = subjects(lane, 3)
        await put(database, lane, [later, now, untried])
        mine = {job.subject: job for job in await claim(database, lane)}
        async with database.session() as session:
            assert await queue.give_back(session, mine[later], timedelta(hours=1))
            assert await queue.give_back(session, mine[now])
            assert await queue.give_back(session, mine[untried], untried=True)
        assert not await finish(database, mine[now])
        again = await claim(database, lane)
        assert {job.subject: job.attempts for job in again} == {now: 2, untried: 1}
        await put(database, lane, [later])  # asked for again, it waits no longer
        assert [(job.subject, job.attempts) for job in await claim(database, lane)] == [(later, 1)]

    use(url, work)


def test_a_job_that_is_put_with_a_delay_is_not_due(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        await put(database, lane, [lane], delay=timedelta(hours=1))
        assert await claim(database, lane) == []
        async with database.session() as session:
            assert await queue.is_queued(session, KIND, lane)
            await queue.drop(session, KIND, [lane])
            assert not await queue.is_queued(session, KIND, lane)

    use(url, work)


def test_nobody_takes_a_job_away_from_whoever_holds_it(url: str, lane: str) -> None:
    async def drop(database: Database) -> None:
        async with database.session() as session:
            await queue.drop(session, KIND, [lane])

    async def work(database: Database) -> None:
        await put(database, lane, [lane])
        (mine,) = await claim(database, lane)
        async with database.session() as session:
            assert await queue.hold(session, mine)
            dropping = asyncio.create_task(drop(database))
            done, _ = await asyncio.wait({dropping}, timeout=0.3)
            assert not done
        await dropping
        assert not await finish(database, mine)

    use(url, work)


def test_jobs_of_a_collection_go_with_it_and_those_in_hand_are_counted(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        place = await album(database)
        await put(database, lane, subjects(lane, 5), place=place)
        await put(database, lane, [f"{lane} other"])
        mine = await claim(database, lane, 2)
        await claim(database, lane, 1, OVER)
        async with database.session() as session:
            assert await queue.in_hand(session, place, KIND) == 2
            assert await queue.in_hand(session, place, "listing") == 0
            assert await queue.in_hand(session, (ACCOUNT, "other"), KIND) == 0
        async with database.session() as session:
            await collections.remove(session, *place)
        assert not await finish(database, mine[0])
        assert [job.subject for job in await claim(database, lane)] == [f"{lane} other"]

    use(url, work)


def real_counts(url: str, place: Place) -> dict[str, int]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute(
            "SELECT " + ", ".join(f"count(*) FILTER (WHERE state = '{state}')" for state in STATES)
            + ", coalesce(sum(faces), 0) FROM photos WHERE account_id = %s AND album_id = %s",
            place,
        ).fetchone()  # fmt: skip
        assert row is not None
        return dict(zip((*STATES, "faces"), map(int, row), strict=True))


def kept_rows(url: str, place: Place) -> int:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        query = "SELECT count(*) FROM album_counts WHERE account_id = %s AND album_id = %s"
        (count,) = connection.execute(query, place).fetchall()[0]
        return int(count)


async def shown_counts(database: Database, place: Place) -> dict[str, int]:
    async with database.session() as session:
        found = await albums.counts(session, place)
    assert found.processing == 0
    return {name: getattr(found, name) for name in (*STATES, "faces")}


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_photos_after_whatever_happens_to_them(url: str, seed: int) -> None:
    async def change(database: Database, place: Place, dice: random.Random, mine: list[UUID]) -> None:
        """One of those who change an album at the same time; each has photos of their own."""
        for _ in range(30):
            what = dice.choice(("add", "finish", "finish", "again", "remove", "note", "fail"))
            some = dice.sample(mine, min(len(mine), dice.randint(1, 4)))
            try:
                async with database.session() as session:
                    if what == "add":
                        new = [
                            NewPhoto(uuid4(), f"s3://b/{uuid4()}", "a", "1", dice.choice((None, "NotAPhoto")))
                            for _ in range(dice.randint(0, 5))
                        ]
                        await photos.add(session, place, new)
                        await photos.add(session, place, new[:1])  # is there already
                        mine.extend(photo.photo_id for photo in new)
                    elif what == "finish":
                        for photo in some:
                            state: State = dice.choice(ENDS)
                            await photos.finish(session, photo, state, {"faces": dice.randint(0, 9)})
                    elif what == "again":
                        await photos.again(session, dict.fromkeys(some, "2"))
                    elif what == "note":
                        for photo in some:
                            await photos.note(session, photo, 2, "reason")
                    elif what == "remove":
                        for photo in some:
                            assert await photos.remove(session, place, photo)
                            mine.remove(photo)
                    else:
                        await photos.again(session, dict.fromkeys(some, None))
                        raise ServiceUnavailableError
            except ServiceUnavailableError:
                assert what == "fail"

    async def work(database: Database) -> None:
        one, other = await album(database), await album(database)
        shared: list[list[UUID]] = [[] for _ in range(8)]
        await asyncio.gather(
            *(
                change(database, place, random.Random(100 * seed + number), shared[number])
                for number, place in enumerate((one, other) * 4)
            )
        )
        for place in (one, other):
            expected = real_counts(url, place)
            assert sum(expected.values()) > 20
            assert await shown_counts(database, place) == expected
        assert kept_rows(url, one) > 1  # several connections have written
        async with database.session() as session:
            await collections.remove(session, *one)
        assert (kept_rows(url, one), sum(real_counts(url, one).values())) == (0, 0)
        assert await shown_counts(database, one) == dict.fromkeys((*STATES, "faces"), 0)
        assert await shown_counts(database, other) == real_counts(url, other)
        # An album of the same id begins at nothing.
        async with database.session() as session:
            await collections.create(session, *one, "1.0")
            await albums.create(
                session, one, uuid4(), title=None, source=None, threshold=80, retention_days=None,
                event_code=None, recompress=False,
            )  # fmt: skip
            await photos.add(session, one, [NewPhoto(uuid4(), "s3://b/a", "a", "1")])
        assert await shown_counts(database, one) == {**dict.fromkeys((*STATES, "faces"), 0), "pending": 1}

    use(url, work)


def test_photos_in_hand_are_processing_and_no_longer_pending(url: str, lane: str) -> None:
    async def work(database: Database) -> None:
        place = await album(database)
        ids = [uuid4() for _ in range(5)]
        async with database.session() as session:
            await photos.add(session, place, [NewPhoto(one, f"s3://b/{one}", "a", "1") for one in ids])
        await put(database, lane, [str(one) for one in ids], place=place)
        mine = await claim(database, lane, 2)
        await claim(database, lane, 1, OVER)  # its worker is gone: it waits again
        async with database.session() as session:
            found = await albums.counts(session, place)
            assert (found.pending, found.processing, found.total) == (3, 2, 5)
            working = await photos.page(session, place, state="processing", after=None, limit=9)
            assert {str(photo.photo_id) for photo in working.items} == {job.subject for job in mine}
            assert {photo.state for photo in working.items} == {"processing"}
            assert (await photos.page(session, place, state="done", after=None, limit=9)).items == []
            waiting = await photos.page(session, place, state="pending", after=None, limit=9)
            assert {photo.state for photo in waiting.items} == {"pending"}
            assert len(waiting.items) == 3

    use(url, work)
