"""Albums that are indexed while workers are killed, the database restarts, the storage fails, and messages
come thrice and in any order."""

import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from json import dumps
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import psycopg
from PIL import Image

from app.measure.s3_server import BUCKET, S3Server, free_ports, s3_server
from app.measure.service import RunningService, start, start_worker
from app.store.embedded import EmbeddedPostgres
from tests import photos
from tests.faults import faulty_s3
from tests.sqs_server import Queue, SqsServer, queue_with_dead_letters

# Generous: what is waited for takes seconds, and indexing many photos minutes.
_WAIT_S = 200.0
_WAIT_A_PHOTO_S = 1.0
_LOOK_S = 0.1
_PERIOD = 50
_VISIBLE_AFTER_S = 5
GUEST = "guest"


@dataclass(frozen=True)
class Shown:
    """What became of a photo."""

    state: str
    reason: str | None
    faces: int
    guests: tuple[str, ...]


@dataclass(frozen=True)
class Chaos:
    """What an album went through."""

    kills: int
    restarts: int
    tried_again: int
    seconds: float


@dataclass
class House:
    """A service with a real PostgreSQL and a real S3; workers are the tests' own."""

    folder: Path
    database: EmbeddedPostgres
    database_url: str
    storage: S3Server
    service: RunningService
    people: list[bytes]
    _calm: dict[int, "Album"] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """Of the service and of workers."""
        return self.storage.settings(DATABASE_URL=self.database_url, S3_ALLOWED=BUCKET)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url.replace("+psycopg", "")) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def restart_database(self) -> None:
        """As an update of the database's machine does; the address stays."""
        self.database.stop()
        assert self.database.start() == self.database_url

    def album(self, name: str, source: str | None, *, guest: bool = True) -> "Album":
        """A new album, with the first of the people as a guest."""
        wanted = {"id": name, **({} if source is None else {"source": f"s3://{BUCKET}/{source}"})}
        with httpx.Client(base_url=f"{self.service.url}/api/v1", timeout=60) as http:
            made = http.post("/albums", json=wanted)
            assert made.status_code == 201, made.text
            if guest:
                files = {"image": ("selfie.jpg", self.people[0])}
                http.post(f"/albums/{name}/guests", data={"id": GUEST}, files=files).raise_for_status()
        return Album(self, name)

    @contextmanager
    def passing_album(self, name: str, source: str) -> Iterator["Album"]:
        """One that is deleted, so that what is left of its work is nobody's."""
        album = self.album(name, source)
        try:
            yield album
        finally:
            httpx.delete(album.url, timeout=60).raise_for_status()

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write objects into the bucket."""
        with closing(self.storage.client()) as client, ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda key: client.put_object(Bucket=BUCKET, Key=key, Body=files[key]), files))

    def remove(self, key: str) -> None:
        with closing(self.storage.client()) as client:
            client.delete_object(Bucket=BUCKET, Key=key)

    def source_of(self, count: int) -> str:
        """The prefix of so many photos."""
        return f"album-{count}/"

    def undisturbed(self, count: int, workers: int = 1) -> "Album":
        """An album of so many photos that nothing happened to; the photos lie at `source_of`."""
        if count not in self._calm:
            source = self.source_of(count)
            self.put({f"{source}{name}": data for name, data in album_files(self.people, count).items()})
            album = self.album(f"calm-{count}", source)
            with crew(self, workers, INFERENCE_THREADS="0" if workers == 1 else "1"):
                album.process()
                album.wait_until_indexed(count)
            album.confirm_whole()
            confirm_truth(album.shown(), count)
            self._calm[count] = album
        return self._calm[count]


@dataclass(frozen=True)
class Album:
    """An album of the house."""

    house: House
    name: str

    @property
    def url(self) -> str:
        return f"{self.house.service.url}/api/v1/albums/{self.name}"

    def process(self) -> None:
        httpx.post(f"{self.url}/process", timeout=60).raise_for_status()

    def status(self) -> dict[str, Any] | None:
        """Or None while the service has no database."""
        answer = httpx.get(f"{self.url}/status", timeout=60)
        if answer.status_code == 503:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def jobs(self) -> int:
        return int(self.house.rows("SELECT count(*) FROM jobs WHERE collection_id = %s", self.name)[0][0])

    def is_in_full_swing(self) -> bool:
        """Whether photos are done, in hand, and waiting."""
        [[done, in_hand]] = self.house.rows(
            "SELECT (SELECT count(*) FROM photos WHERE album_id = %s AND state = 'done'), "
            "(SELECT count(*) FROM jobs WHERE collection_id = %s AND kind = 'photo' AND lease IS NOT NULL)",
            self.name,
            self.name,
        )
        return bool(done >= 3 and in_hand)

    def confirm_well_left(self) -> None:
        """Whoever worked on it ended what they had in hand, left the rest untouched, and lost no photo."""
        jobs = self.house.rows(
            "SELECT subject, lease, attempts FROM jobs WHERE collection_id = %s", self.name
        )
        waiting = self.house.rows(
            "SELECT photo_id FROM photos WHERE album_id = %s AND state = 'pending'", self.name
        )
        assert sorted(jobs) == sorted((str(photo_id), None, 0) for (photo_id,) in waiting)
        assert waiting
        tried = self.house.rows(
            "SELECT DISTINCT attempts FROM photos WHERE album_id = %s AND state IN ('done', 'failed')",
            self.name,
        )
        assert tried == [(1,)]

    def wait_until_indexed(self, count: int = 0) -> None:
        """Wait until no job of the album is left; longer where there are so many photos."""
        wait_for(lambda: self.jobs() == 0, lambda: f"{self.name}: {self.status()}", count)

    def shown(self) -> dict[str, Shown]:
        """Photos by name."""
        rows = self.house.rows(
            "SELECT name, state, reason, faces, array(SELECT user_id FROM photo_matches AS found "
            "WHERE found.photo_id = photos.photo_id ORDER BY user_id) FROM photos WHERE album_id = %s",
            self.name,
        )
        found = {
            name: Shown(state, reason, faces, tuple(guests)) for name, state, reason, faces, guests in rows
        }
        assert len(found) == len(rows), Counter(row[0] for row in rows).most_common(3)
        return found

    def confirm_whole(self) -> None:
        """The tables agree with each other, with what the service tells, and with the files."""
        rows = self.house.rows
        assert self.jobs() == 0
        photo_rows = rows("SELECT photo_id, state, faces FROM photos WHERE album_id = %s", self.name)
        claimed = {photo_id: faces for photo_id, _, faces in photo_rows if faces}
        stored = rows(
            "SELECT photo_id, count(*) FROM faces WHERE collection_id = %s AND photo_id IS NOT NULL "
            "GROUP BY photo_id",
            self.name,
        )
        assert dict(stored) == claimed
        [[strays]] = rows(
            "SELECT count(*) FROM faces WHERE collection_id = %s AND photo_id IS NULL AND user_id IS NULL",
            self.name,
        )
        assert strays == 0
        [[foreign]] = rows(
            "SELECT count(*) FROM photo_matches AS found JOIN faces USING (account_id, face_id) "
            "WHERE found.album_id = %s AND faces.collection_id = found.album_id "
            "AND faces.photo_id <> found.photo_id",
            self.name,
        )
        assert foreign == 0
        told = self.status()
        assert told is not None
        states = Counter(state for _, state, _ in photo_rows)
        assert states["pending"] == 0
        assert {name: told[name] for name in ("done", "failed", "skipped", "pending", "processing")} == {
            **{name: states[name] for name in ("done", "failed", "skipped")},
            "pending": 0,
            "processing": 0,
        }
        assert told["faces"] == sum(claimed.values())
        assert (told["finished"], told["listing_error"]) == (True, None)

    def done_ids(self) -> set[str]:
        rows = self.house.rows(
            "SELECT photo_id FROM photos WHERE album_id = %s AND state = 'done'", self.name
        )
        return {str(photo_id) for (photo_id,) in rows}

    def storage_prefix(self) -> str:
        [[account, key]] = self.house.rows(
            "SELECT account_id, album_key FROM albums WHERE album_id = %s", self.name
        )
        return f"{account}/{key}/"

    def thumbnails_of_folder(self) -> set[str]:
        """Ids of photos with a thumbnail, where the storage is a folder."""
        folder = self.house.data_dir / "photos" / self.storage_prefix() / "thumbnails"
        return {path.stem for path in folder.glob("*.webp") if path.stat().st_size}


@contextmanager
def house() -> Iterator[House]:
    """All that an album needs, but workers."""
    # A short path: the database's socket lies in its folder, and has to stay where it is.
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name, s3_server() as s3:
        folder = Path(name)
        database = EmbeddedPostgres(folder / "pg")
        url = database.start()
        try:
            service = start(folder / "data", **s3.settings(DATABASE_URL=url, S3_ALLOWED=BUCKET))
            try:
                yield House(folder, database, url, s3, service, _people(service.url))
            finally:
                service.stop()
        finally:
            database.stop()


class Crew:
    """Workers of a house; one that is killed is replaced."""

    def __init__(self, of: House, settings: Mapping[str, str]) -> None:
        self._house = of
        self._settings = {**of.settings, "INFERENCE_THREADS": "1", **settings}
        self._starter = ThreadPoolExecutor(4)
        self._starting: list[Future[None]] = []
        self.working: list[RunningService] = []

    def start(self, count: int) -> None:
        """Start workers, and go on meanwhile."""
        self._starting += [self._starter.submit(self._start) for _ in range(count)]

    def gather(self) -> None:
        """Wait until all work."""
        for begun in self._starting:
            begun.result()
        self._starting.clear()

    def kill(self) -> None:
        """End the one that has worked longest, in the midst of what it does; another takes its place."""
        if not self.working:
            self.gather()
        victim = self.working.pop(0)
        victim.process.kill()
        victim.process.wait()
        self.start(1)

    def stop(self) -> list[int]:
        """Stop all; their exit statuses."""
        self.gather()
        for worker in self.working:
            worker.process.send_signal(signal.SIGTERM)
        statuses = [worker.process.wait(60) for worker in self.working]
        self.working.clear()
        return statuses

    def close(self) -> None:
        """Leave no process behind, whatever happened."""
        self._starter.shutdown(wait=True)
        for worker in self.working:
            worker.process.kill()
            worker.process.wait()

    def _start(self) -> None:
        self.working.append(start_worker(self._house.data_dir, **self._settings))


@contextmanager
def crew(of: House, count: int, **settings: str) -> Iterator[Crew]:
    """Workers that work, and are stopped at the end; each of them ends well."""
    workers = Crew(of, settings)
    try:
        workers.start(count)
        workers.gather()
        yield workers
        assert set(workers.stop()) <= {0}
    finally:
        workers.close()


def index_under_kills(album: Album, count: int, kill_is_due: Callable[[int, int, float], bool]) -> Chaos:
    """Index an album with three workers; one is killed whenever that is due, and the database restarts once.

    Args:
        album: a new one whose source holds so many photos.
        count: of photos.
        kill_is_due: given how many were killed, how many photos are done, and the seconds since the start.
    """
    kills = restarts = 0
    began = time.monotonic()
    # On a busy machine a photo may well lose its worker five times.
    with crew(album.house, 3, PHOTO_ATTEMPTS="50") as workers:
        album.process()

        def is_over() -> bool:
            nonlocal kills, restarts
            seen = album.status()
            if seen is None:
                return False
            ended = seen["done"] + seen["failed"] + seen["skipped"]
            if ended < count and kill_is_due(kills, ended, time.monotonic() - began):
                workers.kill()
                kills += 1
            if not restarts and count // 2 <= ended < count:
                workers.gather()  # none starts while there is no database
                album.house.restart_database()
                restarts += 1
            return bool(seen["finished"])

        wait_for(is_over, lambda: f"{album.name}: {album.status()}", count)
        album.wait_until_indexed()
    [[tried_again]] = album.house.rows(
        "SELECT count(*) FROM photos WHERE album_id = %s AND attempts > 1", album.name
    )
    return Chaos(kills, restarts, tried_again, time.monotonic() - began)


# ---- a storage that fails


def index_through_faults(of: House, count: int, notes: int, seed: int = 0) -> None:
    """Index photos, and list pages of notes, from a storage that fails every fifth call.

    Thumbnails go to that storage too.
    """
    calm = of.undisturbed(count)
    source = f"notes-{count}/"
    of.put({f"{source}{number:05}.txt": b"a note" for number in range(notes)})
    album, listed = of.album(f"faults-{count}", of.source_of(count)), of.album(f"notes-{count}", source)
    with faulty_s3(of.storage.url, share=0.2, seed=seed) as proxy:
        own = {"S3_ENDPOINT_URL": proxy.url, "STORAGE_URL": f"s3://{BUCKET}/own"}
        with crew(of, 1, **own, INFERENCE_THREADS="0"):
            for one in (album, listed):
                one.process()
            for one in (album, listed):
                one.wait_until_indexed(count)
        print(f"{proxy.faults} of {proxy.requests} calls failed")
        assert proxy.faults > proxy.requests // 10 > 0
    album.confirm_whole()
    assert album.shown() == calm.shown()
    assert _thumbnails_in_bucket(album) == album.done_ids()
    listed.confirm_whole()
    skipped = Shown("skipped", "NotAPhoto", 0, ())
    assert listed.shown() == {f"{number:05}.txt": skipped for number in range(notes)}


def _thumbnails_in_bucket(album: Album) -> set[str]:
    beginning = f"own/{album.storage_prefix()}thumbnails/"
    with closing(album.house.storage.client()) as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=beginning)
        rows = [row for page in pages for row in page.get("Contents", [])]
    assert all(row["Size"] for row in rows)
    return {row["Key"].removeprefix(beginning).removesuffix(".webp") for row in rows}


# ---- photos


def album_files(people: Sequence[bytes], count: int) -> dict[str, bytes]:
    """Photos by name: of each fifty, two broken ones, one without a face, and a file that is no photo."""
    shots = _shots(people)
    empty = photos.without_face()
    files: dict[str, bytes] = {}
    for number in range(count):
        name = f"{number // 100:02}/{number:05}"
        shot = marked(shots[number % len(shots)], number)
        match number % _PERIOD:
            case 7:
                files[f"{name}.jpg"] = shot[: len(shot) // 2]
            case 13:
                files[f"{name}.jpg"] = b"no photo at all, number %d" % number
            case 21:
                files[f"{name}.jpg"] = marked(empty, number)
            case 33:
                files[f"{name}.txt"] = b"a note, number %d" % number
            case _:
                files[f"{name}.jpg"] = shot
    return files


def confirm_truth(shown: Mapping[str, Shown], count: int) -> None:
    """Each of `album_files` came to the end that it had to come to."""
    assert sorted(shown) == sorted(f"{n // 100:02}/{n:05}.{_ending(n)}" for n in range(count))
    for name, photo in shown.items():
        found = (photo.state, photo.reason)
        match int(Path(name).stem) % _PERIOD:
            case 7 | 13:
                assert (*found, photo.faces) == ("failed", "InvalidImageFormatException", 0), name
            case 33:
                assert (*found, photo.faces) == ("skipped", "NotAPhoto", 0), name
            case 21:
                assert (*found, photo.faces) == ("done", None, 0), name
            case _:
                assert found == ("done", None), name
                assert 1 <= photo.faces <= 3, name
    matched = sum(photo.guests == (GUEST,) for photo in shown.values())
    assert 0 < matched < sum(photo.faces > 0 for photo in shown.values())


def _ending(number: int) -> str:
    return "txt" if number % _PERIOD == 33 else "jpg"


def marked(jpeg: bytes, number: int) -> bytes:
    """The same picture in a file of its own: with a comment."""
    comment = b"number %d" % number
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def _people(url: str) -> list[bytes]:
    """The six of the group, each alone, from left to right."""
    answer = httpx.post(
        f"{url}/api/v1/detect-faces", files={"image": ("t1.jpg", photos.group())}, timeout=60
    ).json()
    boxes = sorted((face["BoundingBox"] for face in answer["FaceDetails"]), key=lambda box: box["Left"])
    return [photos.crop_around(photos.group(), box) for box in boxes]


def _shots(people: Sequence[bytes]) -> list[bytes]:
    """Pictures of one, two and three of the people side by side."""
    size = (144, 176)
    alone = [photos.opened(person).resize(size) for person in people]
    groups = [alone[at : at + width] for width in (1, 2, 3) for at in range(len(alone) - width + 1)]
    return [photos.encode(_side_by_side(group, size)) for group in groups]


def _side_by_side(pictures: Sequence[Image.Image], size: tuple[int, int]) -> Image.Image:
    whole = Image.new("RGB", (size[0] * len(pictures), size[1]))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (number * size[0], 0))
    return whole


# ---- messages

# Names that URLs write otherwise, one of them so that it gets longer than a key may be.
PLAIN, SPACE, PLUS, SIGNS = "plain.jpg", "with two spaces.jpg", "a+b +c.jpg", "100% #1 & co;=,.jpg"
FOREIGN = f"Zoë/{'ñ' * 80}/{'ü' * 80}/{'é' * 80}/ñandú 日本.jpg"


@dataclass(frozen=True)
class Change:
    """Something that happens to an object, and how it is told."""

    name: str
    data: bytes | None
    told: str = "s3"


def story(people: Sequence[bytes]) -> list[list[Change]]:
    """What happens to the objects of an album, in steps."""
    shots = _shots(people)
    new = [marked(shot, 1000 + number) for number, shot in enumerate(shots)]
    return [
        [
            Change(PLAIN, new[0]),
            Change(SPACE, new[1]),
            Change(PLUS, new[2], "gallery"),
            Change(FOREIGN, new[6]),
            Change(SIGNS, new[7], "sns"),
            Change("gallery é+ü.jpg", new[11], "gallery"),
            Change("notes.txt", b"a note"),
            Change("broken.jpg", new[8][: len(new[8]) // 2]),
        ],
        [
            Change(PLUS, new[12]),
            Change(SPACE, None),
            Change(FOREIGN, photos.without_face(), "gallery"),
            Change("broken.jpg", new[8], "sns"),
            Change("late.jpg", new[3]),
        ],
        [
            Change(SPACE, new[9]),
            Change(PLAIN, None, "sns"),
            Change("late.jpg", None),
            Change("never there.jpg", None),
        ],
    ]


def message(album: str, key: str, change: Change) -> str:
    """How a change is told."""
    if change.told == "gallery":
        return dumps({"galleryId": album, "r2Key": key})
    name = "ObjectRemoved:Delete" if change.data is None else "ObjectCreated:Put"
    event = dumps({"Records": [_record(name, key)]})
    return dumps({"Type": "Notification", "Message": event}) if change.told == "sns" else event


def _record(name: str, key: str) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {"bucket": {"name": BUCKET}, "object": {"key": quote_plus(key, safe="/")}},
    }


def without_work() -> list[str]:
    """Messages that ask for nothing."""
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}
    return [
        dumps(test_event),
        dumps({"Type": "Notification", "Message": dumps(test_event)}),
        dumps({"Records": [_record("ObjectCreated:Put", "of no album/x.jpg")]}),
        dumps({"Records": []}),
    ]


def poison(album: str, source: str) -> list[str]:
    """Messages that can't be taken."""
    nul = _record("ObjectCreated:Put", f"{source}x")
    nul["s3"]["object"]["key"] = f"{source}%00.jpg"
    return [
        "no JSON",
        "[" * 100_000,
        "17",
        dumps({"galleryId": "no-such-gallery", "r2Key": f"{source}x.jpg"}),
        dumps({"galleryId": album, "r2Key": "elsewhere/x.jpg"}),
        dumps({"galleryId": album}),
        dumps({"galleryId": album, "r2Key": f"{source}half a letter \ud800.jpg"}),
        dumps({"galleryId": album, "r2Key": f"{source}{_long_name()}.jpg"}),
        dumps({"Records": [nul]}),
        dumps({"Records": [{"eventName": "ObjectCreated:Put"}]}),
    ]


def _long_name() -> str:
    """Longer than a key of S3 can be, and than PostgreSQL can find by an index."""
    return "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_000))


@dataclass(frozen=True)
class Delivered:
    """An album after its messages, and what the worker counted."""

    shown: dict[str, Shown]
    dead: list[str]
    poison_metric: int


def deliver_in_order(of: House, server: SqsServer, name: str) -> Delivered:
    """Each message once, in order, each step after the one before is indexed."""
    album = of.album(name, f"{name}/")
    return _delivered(
        of, server, album, [[*step, None] for step in story(of.people)], lambda told: [*told, *without_work()]
    )


def deliver_in_disorder(of: House, server: SqsServer, name: str, seed: int) -> Delivered:
    """Every message thrice in any order, with those that can't be taken among them."""
    album = of.album(name, f"{name}/")
    dice = random.Random(seed)

    def mixed(told: list[str]) -> list[str]:
        several = [*told, *without_work(), *poison(name, f"{name}/")] * 3
        dice.shuffle(several)
        return several

    everything: list[Change | None] = [change for step in story(of.people) for change in step]
    return _delivered(of, server, album, [everything], mixed)


def confirm_story(shown: Mapping[str, Shown]) -> None:
    """What `story` comes to."""
    ends = {name: (photo.state, photo.reason, photo.faces) for name, photo in shown.items()}
    gone = ("skipped", "PhotoNotFound", 0)
    assert ends == {
        PLAIN: gone,
        SPACE: ("done", None, 2),
        PLUS: ("done", None, 3),
        FOREIGN: ("done", None, 0),
        SIGNS: ("done", None, 2),
        "gallery é+ü.jpg": ("done", None, 3),
        "notes.txt": ("skipped", "NotAPhoto", 0),
        "broken.jpg": ("done", None, 2),
        "late.jpg": gone,
    }
    assert [name for name, photo in shown.items() if photo.guests] == ["gallery é+ü.jpg"]


def confirm_disorder(seen: Delivered, once: Delivered, name: str) -> None:
    """It came to the same, and what can't be taken was given up after two tries."""
    assert seen.shown == once.shown
    bad = poison(name, f"{name}/") * 3
    assert sorted(seen.dead) == sorted(bad)
    assert seen.poison_metric == 2 * len(bad)


def _delivered(
    of: House,
    server: SqsServer,
    album: Album,
    steps: Sequence[Sequence[Change | None]],
    order: Callable[[list[str]], list[str]],
) -> Delivered:
    [port] = free_ports(1)
    with queue_with_dead_letters(server, album.name, visibility_s=_VISIBLE_AFTER_S) as queue:
        with crew(of, 1, **server.settings(queue.url), METRICS_PORT=str(port)) as working:
            for step in steps:
                told = []
                for change in filter(None, step):
                    key = f"{album.name}/{change.name}"
                    if change.data is None:
                        of.remove(key)
                    else:
                        of.put({key: change.data})
                    told.append(message(album.name, key, change))
                queue.send(order(told))
                wait_for(lambda: queue.left() == 0, lambda: _why(queue, working))
                album.wait_until_indexed()
            counted = _counted(port, "poison")
        album.confirm_whole()
        assert album.thumbnails_of_folder() == album.done_ids()
        return Delivered(album.shown(), queue.dead(), counted)


def _why(queue: Queue, working: Crew) -> str:
    return f"{queue.left()} messages are left: {working.working[0].log[-3000:]}"


def _counted(port: int, result: str) -> int:
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    sign = f'intake_messages_total{{result="{result}"}} '
    found = [line for line in told.splitlines() if sign in line]
    return int(float(found[0].rpartition(" ")[2])) if found else 0


def wait_for(is_so: Callable[[], bool], why: Callable[[], str], count: int = 0) -> None:
    """Wait until something is so, longer where it takes so many photos; says why when it never is."""
    deadline = time.monotonic() + _WAIT_S + count * _WAIT_A_PHOTO_S
    while not is_so():
        assert time.monotonic() < deadline, why()
        time.sleep(_LOOK_S)
