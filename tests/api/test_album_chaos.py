"""Albums keep every photo, once, while workers are killed, the database restarts, the storage fails, and
messages come thrice and in any order. The long forms are in tests/soak/test_albums.py."""

import signal
from collections.abc import Iterator

import psutil
import pytest

from app.measure.service import start
from tests.api import album_chaos as chaos
from tests.api.album_chaos import House, crew, house
from tests.sqs_server import SqsServer, sqs_server

COUNT = 60


@pytest.fixture(scope="module")
def here() -> Iterator[House]:
    with house() as opened:
        yield opened


@pytest.fixture(scope="module")
def sqs() -> Iterator[SqsServer]:
    with sqs_server() as server:
        yield server


def test_killed_workers_and_a_restarted_database_lose_no_photo_and_double_none(here: House) -> None:
    calm = here.undisturbed(COUNT)
    album = here.album("kills", here.source_of(COUNT))
    seen = chaos.index_under_kills(
        album, COUNT, lambda kills, ended, seconds: kills < 2 and ended >= COUNT * (2 * kills + 1) // 5
    )
    print(seen)
    assert (seen.kills, seen.restarts) == (2, 1)
    album.confirm_whole()
    assert album.shown() == calm.shown()
    assert album.thumbnails_of_folder() == album.done_ids()


def test_messages_that_come_thrice_in_any_order_say_what_they_say_once_in_order(
    here: House, sqs: SqsServer
) -> None:
    once = chaos.deliver_in_order(here, sqs, "in-order")
    chaos.confirm_story(once.shown)
    assert (once.dead, once.poison_metric) == ([], 0)
    chaos.confirm_disorder(chaos.deliver_in_disorder(here, sqs, "disorder-1", seed=1), once, "disorder-1")


def test_a_storage_that_fails_every_fifth_call_changes_nothing(here: House) -> None:
    chaos.index_through_faults(here, COUNT, notes=1100)


def test_a_worker_that_is_told_to_stop_ends_what_it_has_in_hand(here: House) -> None:
    here.undisturbed(COUNT)
    with here.passing_album("graceful", here.source_of(COUNT)) as album, crew(here, 1) as workers:
        album.process()
        chaos.wait_for(album.is_in_full_swing, lambda: str(album.status()))
        assert workers.stop() == [0]
        album.confirm_well_left()


def test_the_worker_of_a_killed_service_ends_by_itself(here: House) -> None:
    here.undisturbed(COUNT)
    with here.passing_album("orphan", here.source_of(COUNT)) as album:
        service = start(here.folder / "other", **here.settings, WORKERS="1", INFERENCE_THREADS="1")
        try:
            [worker] = psutil.Process(service.process.pid).children()
            album.process()
            chaos.wait_for(album.is_in_full_swing, lambda: service.log)
        finally:
            service.process.send_signal(signal.SIGKILL)
            service.process.wait()
        chaos.wait_for(lambda: _is_over(worker), lambda: service.log)
        album.confirm_well_left()


def _is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # nobody may be there to bury it
    except psutil.NoSuchProcess:
        return True
