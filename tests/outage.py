"""A database that is stopped and comes back, while clients of every door go on."""

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any

import botocore.exceptions
import httpx
import psutil
import psycopg

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, start
from app.store.embedded import EmbeddedPostgres
from tests import photos

CLIENTS = 8
# A request that hangs for this long fails the test; those that wait do so for some seconds.
_HANGS_S = 30.0
_WAIT_S = 200.0
_PAUSE_S = 0.02


@dataclass
class Seen:
    """What clients were answered, and what they may rely on."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest_s: float = 0
    enrolled: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    indexed: set[str] = field(default_factory=set)
    # Sent, and answered with an error: may have been done or not, but not by half.
    unsure: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    def note(
        self, kind: str, status: int, retry_after: str | None, seconds: float, text: str, wanted: int = 200
    ) -> None:
        with self.lock:
            self.answers[kind, status] += 1
            self.longest_s = max(self.longest_s, seconds)
            if status not in (wanted, 503) or (status == 503 and not int(retry_after or 0) > 0):
                self.wrong.append(f"{kind}: {status}, Retry-After {retry_after}: {text}")

    def put(self, place: set[str], name: str, status: int) -> None:
        with self.lock:
            (place if status == 200 else self.unsure).add(name)


class Client:
    """One of those who go on whatever happens."""

    def __init__(self, url: str, number: int, portrait: bytes, seen: Seen) -> None:
        self._aws = rekognition_client(url, 1)
        self._http = httpx.Client(base_url=url, timeout=_HANGS_S)
        self._names = (f"c{number}-{turn}" for turn in itertools.count())
        self._portrait = portrait
        self._seen = seen
        self._mine: list[str] = []
        kinds = [self._search, self._list, self._index, self._enroll, self._erase, self._identify]
        kinds += [self._read, self._members]
        self._turns = itertools.cycle(kinds[number:] + kinds[:number])

    def run(self, over: Event) -> None:
        with self._http:
            while not over.is_set():
                try:
                    next(self._turns)()
                except (httpx.HTTPError, botocore.exceptions.BotoCoreError) as error:
                    self._seen.wrong.append(repr(error))
                time.sleep(_PAUSE_S)

    def _call(self, kind: str, call: Callable[[], Any]) -> int:
        began = time.monotonic()
        try:
            metadata, text = call()["ResponseMetadata"], ""
        except botocore.exceptions.ClientError as error:
            metadata, text = error.response["ResponseMetadata"], str(error)
            assert metadata["HTTPStatusCode"] != 503 or "ServiceUnavailableError" in text
        headers, status = metadata["HTTPHeaders"], int(metadata["HTTPStatusCode"])
        self._seen.note(kind, status, headers.get("retry-after"), time.monotonic() - began, text)
        return status

    def _send(self, kind: str, method: str, path: str, *, wanted: int = 200, **what: Any) -> int:
        began = time.monotonic()
        answer = self._http.request(method, path, **what)
        waits_s, seconds = answer.headers.get("Retry-After"), time.monotonic() - began
        self._seen.note(kind, answer.status_code, waits_s, seconds, answer.text, wanted)
        return answer.status_code

    def _search(self) -> None:
        image = {"Bytes": self._portrait}
        self._call("search", lambda: self._aws.search_faces_by_image(CollectionId="kept", Image=image))  # type: ignore[arg-type]  # a TypedDict

    def _list(self) -> None:
        self._call("list", lambda: self._aws.list_faces(CollectionId="kept"))

    def _index(self) -> None:
        name = next(self._names)
        status = self._call(
            "index",
            lambda: self._aws.index_faces(
                CollectionId="written", Image={"Bytes": self._portrait}, ExternalImageId=name
            ),
        )
        self._seen.put(self._seen.indexed, name, status)

    def _enroll(self) -> None:
        name = next(self._names)
        upload = {"image": ("a.jpg", self._portrait)}
        status = self._send("enroll", "POST", "/enroll", data={"member_id": name}, files=upload)
        self._seen.put(self._seen.enrolled, name, status)
        if status == 200:
            self._mine.append(name)

    def _erase(self) -> None:
        """Erase the newest of one's own members but the first, who has to be there in the end."""
        if len(self._mine) < 2:
            self._send("erase", "DELETE", "/members/nobody", wanted=404)
            return
        name = self._mine.pop()
        self._seen.put(self._seen.erased, name, self._send("erase", "DELETE", f"/members/{name}"))

    def _identify(self) -> None:
        self._send("identify", "POST", "/identify", files={"image": ("a.jpg", self._portrait)})

    def _read(self) -> None:
        self._send("read", "GET", "/api/v1/collections/kept/faces")

    def _members(self) -> None:
        self._send("members", "GET", "/members", params={"limit": "5"})


@contextmanager
def _clients(url: str, portrait: bytes) -> Iterator[Seen]:
    """So many who call while this is open, and one who asks for the health."""
    seen, over = Seen(), Event()

    def watch() -> None:
        with httpx.Client(base_url=url, timeout=_HANGS_S) as http:
            while not over.wait(0.05):
                for path in ("/live", "/health"):
                    if http.get(path).status_code != 200:
                        seen.wrong.append(path)

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        begun = [pool.submit(Client(url, number, portrait, seen).run, over) for number in range(CLIENTS)]
        begun.append(pool.submit(watch))
        try:
            yield seen
        finally:
            over.set()
        for one in begun:
            one.result()


def stop_and_restart(away_s: float, ready_again_s: float) -> None:
    """Stop PostgreSQL for so long under load, and confirm all that is promised.

    Args:
        away_s: how long.
        ready_again_s: within which time the service is ready, once PostgreSQL answers.
    """
    # A short path: the database's socket lies in its folder, and has to stay where it is.
    with tempfile.TemporaryDirectory(prefix="outage-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        database = EmbeddedPostgres(folder / "pg")
        url = database.start()
        try:
            service = start(
                folder / "data", DATABASE_URL=url, WORKERS="1", WORKER_NICE="0", INFERENCE_THREADS="1"
            )
            try:
                _stop_and_restart(service, database, url, away_s, ready_again_s)
            finally:
                service.stop()
        finally:
            database.stop()


def _stop_and_restart(
    service: RunningService,
    database: EmbeddedPostgres,
    database_url: str,
    away_s: float,
    ready_again_s: float,
) -> None:
    client = rekognition_client(service.url)
    for collection in ("kept", "written", "members"):
        client.create_collection(CollectionId=collection)
    group = photos.group()
    face = client.index_faces(CollectionId="kept", Image={"Bytes": group})["FaceRecords"][0]["Face"]
    portrait = photos.crop_around(group, face["BoundingBox"])
    _index_album(service, "before", group)
    workers = [child.pid for child in psutil.Process(service.process.pid).children()]
    with _clients(service.url, portrait) as seen:
        _wait_until_all_saw(seen, 200)
        database.stop()
        began = time.monotonic()
        _confirm_unready(service)
        _wait_until_all_saw(seen, 503)
        while time.monotonic() - began < away_s:
            _confirm_unready(service)
            time.sleep(0.1)
        assert database.start() == database_url
        began = time.monotonic()
        while httpx.get(f"{service.url}/ready", timeout=_HANGS_S).status_code != 200:
            assert time.monotonic() - began < ready_again_s
            time.sleep(0.02)
        ready_s = time.monotonic() - began
        _wait_until_all_saw(seen, 200)
    print(f"ready after {ready_s:.2f} s; the longest request took {seen.longest_s:.2f} s")
    print(sorted(seen.answers.items()))
    assert seen.wrong == []
    assert [child.pid for child in psutil.Process(service.process.pid).children()] == workers
    _index_album(service, "after", group)
    _confirm_nothing_half(database_url, seen)
    assert "Traceback" not in service.log, service.log


def _wait_until_all_saw(seen: Seen, status: int) -> None:
    """Until every kind of request was answered so from now on, or something is wrong."""
    before = Counter(seen.answers)
    deadline = time.monotonic() + _WAIT_S
    while not seen.wrong:
        new = {
            kind
            for (kind, found), count in seen.answers.copy().items()
            if found == status and count > before[kind, found]
        }
        if len(new) == CLIENTS:
            return
        assert time.monotonic() < deadline, f"only {new} saw {status}"
        time.sleep(0.05)


def _confirm_unready(service: RunningService) -> None:
    ready = httpx.get(f"{service.url}/ready", timeout=_HANGS_S)
    assert (ready.status_code, ready.json()["reason"]) == (503, "DatabaseUnreachable")
    assert int(ready.headers["Retry-After"]) > 0


def _index_album(service: RunningService, name: str, photo: bytes) -> None:
    """The worker works, or works again."""
    with httpx.Client(base_url=f"{service.url}/api/v1", timeout=_HANGS_S) as http:
        http.post("/albums", json={"id": name}).raise_for_status()
        http.post(f"/albums/{name}/photos", files={"files": ("a.jpg", photo)}).raise_for_status()
        deadline = time.monotonic() + _WAIT_S
        while not (status := http.get(f"/albums/{name}/status").json())["finished"]:
            assert time.monotonic() < deadline, service.log
            time.sleep(0.1)
        assert (status["done"], status["faces"]) == (1, 6)


def _confirm_nothing_half(database_url: str, seen: Seen) -> None:
    """What was acknowledged is there, what was not is there as a whole or not at all."""
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        members = connection.execute(
            "SELECT users.member_id, users.embedding IS NOT NULL, count(faces.face_id) FROM users "
            "LEFT JOIN faces USING (account_id, collection_id, user_id) "
            "WHERE collection_id = 'members' GROUP BY 1, 2"
        ).fetchall()
        strays = connection.execute(
            "SELECT count(*) FROM faces WHERE collection_id = 'members' AND user_id IS NULL"
        ).fetchone()
        indexed = connection.execute(
            "SELECT external_image_id FROM faces WHERE collection_id = 'written'"
        ).fetchall()
    assert {(whole, faces) for _, whole, faces in members} <= {(True, 1)}
    assert strays == (0,)
    there = {name for name, _, _ in members}
    acknowledged = seen.enrolled - seen.erased - seen.unsure
    assert acknowledged <= there <= acknowledged | seen.unsure
    names = [name for (name,) in indexed]
    assert len(set(names)) == len(names)
    assert seen.indexed <= set(names) <= seen.indexed | seen.unsure
    assert acknowledged
    assert seen.indexed
