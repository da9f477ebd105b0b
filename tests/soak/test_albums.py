"""Albums of thousands of photos while workers are killed, storages fail and messages come in any order; and
how much memory a worker comes to."""

import itertools
from collections.abc import Iterator, Sequence

import psutil
import pytest
from PIL import Image

from tests import photos
from tests.api import album_chaos as chaos
from tests.api.album_chaos import House, crew, house, marked
from tests.sqs_server import sqs_server

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

_MIB = 1024 * 1024
_EVERY_S = 10
_STEP, _WARM, _MANY = 500, 1000, 5000
_LARGE = (4000, 3000)


@pytest.fixture(scope="module")
def here() -> Iterator[House]:
    with house() as opened:
        yield opened


def test_2000_photos_survive_a_killed_worker_every_ten_seconds(here: House) -> None:
    count = 2000
    calm = here.undisturbed(count, workers=3)
    album = here.album("kills", here.source_of(count))
    seen = chaos.index_under_kills(
        album, count, lambda kills, ended, seconds: seconds >= _EVERY_S * (kills + 1)
    )
    print(seen)
    assert seen.restarts == 1
    assert seen.kills >= 5
    album.confirm_whole()
    assert album.shown() == calm.shown()
    assert album.thumbnails_of_folder() == album.done_ids()


def test_messages_in_many_orders_come_to_the_same(here: House) -> None:
    with sqs_server() as server:
        once = chaos.deliver_in_order(here, server, "in-order")
        chaos.confirm_story(once.shown)
        for seed in range(2, 8):
            name = f"disorder-{seed}"
            chaos.confirm_disorder(chaos.deliver_in_disorder(here, server, name, seed), once, name)


def test_500_photos_of_a_storage_that_fails_every_fifth_call(here: House) -> None:
    chaos.index_through_faults(here, 500, notes=5000, seed=1)


def test_a_worker_needs_no_more_memory_after_5000_photos_than_after_1000(here: House) -> None:
    shots = _variety(here.people)
    here.put(
        {
            f"memory/{number:05}.jpg": marked(shot, number)
            for number, shot in zip(range(_MANY), itertools.cycle(shots), strict=False)
        }
    )
    album = here.album("memory", "memory/")
    seen: dict[int, int] = {}
    with crew(here, 1, INFERENCE_THREADS="0") as workers:
        worker = psutil.Process(workers.working[0].process.pid)
        album.process()
        for ended in range(_STEP, _MANY + 1, _STEP):
            chaos.wait_for(lambda least=ended: _ended(album) >= least, lambda: str(album.status()), _MANY)  # type: ignore[misc]  # a default binds the loop's value
            seen[ended] = worker.memory_info().rss
            print(f"{ended} photos: {seen[ended] / _MIB:.0f} MiB")
        album.wait_until_indexed()
    album.confirm_whole()
    assert seen[_MANY] < 1500 * _MIB, seen
    assert seen[_MANY] <= 1.25 * seen[_WARM], seen


def _ended(album: chaos.Album) -> int:
    status = album.status()
    return 0 if status is None else status["done"] + status["failed"] + status["skipped"]


def _variety(people: Sequence[bytes]) -> list[bytes]:
    """A hundred pictures of all sizes, of which two have 12 megapixels."""
    alone = [photos.opened(person) for person in people]
    group = photos.opened(photos.group())
    small = [
        photos.encode(alone[number % len(alone)].resize((100 + 7 * number, 120 + 5 * number)))
        for number in range(97)
    ]
    large = [photos.encode(picture.resize(_LARGE, Image.Resampling.BICUBIC)) for picture in (group, alone[0])]
    return [*small[:48], large[0], *small[48:], large[1], photos.group()]
