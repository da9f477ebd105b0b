"""A rebuild whose workers are killed one after the other while people search."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from threading import Event, Thread

import httpx
from psutil import Process

from app.measure.service import RunningService, start, start_worker
from app.store.embedded import EmbeddedPostgres
from tests import photos
from tests.api.index_jobs import portraits
from tests.supabase import SupabaseSite, settings_for

_PEOPLE = 6


@dataclass
class Searches:
    """What searches answered that were sent while their replica was up."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)


class Searcher:
    """Identifies a member who was enrolled before, again and again, at the service."""

    def __init__(self, photo: bytes, member: str) -> None:
        self.url: str | None = None
        self.seen = Searches()
        self._photo = photo
        self._member = member
        self._stop = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> "Searcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            url = self.url
            if url is None:
                time.sleep(0.01)
                continue
            try:
                answer = httpx.post(f"{url}/identify", files={"image": ("a.png", self._photo)}, timeout=60)
            except httpx.HTTPError as error:
                self.seen.wrong.append(repr(error))
                continue
            if answer.status_code == 200 and answer.json()["member_id"] == self._member:
                self.seen.right += 1
            else:
                self.seen.wrong.append(answer.text)


def rebuild_under_kills(
    folder: Path, storage: SupabaseSite, count: int, kills: int
) -> tuple[dict[str, int], Searches]:
    """Rebuild `count` members with two workers, of which one is killed so many times.

    Returns:
        How many faces each member has in the end, and how searches went meanwhile.
    """
    database = EmbeddedPostgres(folder / "postgres")
    settings = {**settings_for(storage), "DATABASE_URL": database.start()}
    running: list[RunningService] = []
    try:
        replica = start(folder / "service", **settings)
        running.append(replica)
        workers = [start_worker(folder / f"worker{number}", **settings) for number in range(2)]
        running += workers
        faces = httpx.post(
            f"{replica.url}/api/v1/detect-faces", files={"image": ("t1.jpg", photos.group())}, timeout=60
        ).json()["FaceDetails"]
        people = [photos.crop_around(photos.group(), face["BoundingBox"]) for face in faces]
        for number, photo in enumerate(portraits(people[: _PEOPLE - 1], count)):
            storage.files[f"profiles/kills/m{number}.png"] = photo
        storage.files["profiles/kills/before.png"] = people[_PEOPLE - 1]
        enrolled = {"member_id": "before", "supabase_path": "kills/before.png"}
        httpx.post(f"{replica.url}/enroll", json=enrolled, timeout=60).raise_for_status()
        with Searcher(people[_PEOPLE - 1], "before") as searcher:
            searcher.url = replica.url
            begun = httpx.post(f"{replica.url}/index", json={"prefix": "kills/"}, timeout=60).json()
            for kill in range(kills):
                _wait_for(replica, begun["job_id"], (kill + 1) * count // (kills + 2))
                victim = _at_work(workers)
                workers[victim].process.send_signal(SIGKILL)
                workers[victim].process.wait()
                running.remove(workers[victim])
                workers[victim] = start_worker(folder / f"worker{victim}", **settings)
                running.append(workers[victim])
            _wait_for(replica, begun["job_id"], None)
        listed: dict[str, int] = {}
        token: dict[str, str] = {}
        while True:
            page = httpx.get(f"{replica.url}/members", params={"limit": "1000", **token}).json()
            listed |= {member["member_id"]: member["face_count"] for member in page["members"]}
            if page["next_token"] is None:
                return listed, searcher.seen
            token = {"next_token": page["next_token"]}
    finally:
        for process in reversed(running):
            process.stop()
        database.stop()


def _at_work(workers: list[RunningService]) -> int:
    """The worker that has the job in hand: it burns the processor time."""
    before = [sum(Process(worker.process.pid).cpu_times()[:2]) for worker in workers]
    time.sleep(0.5)
    after = [sum(Process(worker.process.pid).cpu_times()[:2]) for worker in workers]
    return max(range(len(workers)), key=lambda number: after[number] - before[number])


def _wait_for(replica: RunningService, job_id: str, done: int | None) -> None:
    """Wait until a job has done so many photos, or until it has succeeded."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        job = httpx.get(f"{replica.url}/index/{job_id}", timeout=60).json()
        if job["finished"]:
            assert job["status"] == "succeeded", job
            assert done is None, "the job was over before the replica was killed"
            return
        if done is not None and job["done"] >= done:
            return
        time.sleep(0.05)
    raise AssertionError("the job does not come to an end")
