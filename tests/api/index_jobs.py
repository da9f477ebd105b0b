"""What tests of index jobs share: photos of many members in a storage, and waiting for a job."""

import time
from collections.abc import Callable
from typing import Any

import httpx
from PIL import Image

from tests import photos

WAIT_S = 300


def portraits(people: list[bytes], count: int) -> list[bytes]:
    """Photos of the people in turn, no two with the same bytes."""
    opened = [photos.opened(person) for person in people]
    return [_portrait(opened[number % len(opened)], number) for number in range(count)]


def _portrait(person: Image.Image, number: int) -> bytes:
    marked = person.copy()
    marked.putpixel((0, 0), (number % 256, number // 256 % 256, 0))
    return photos.encode(marked, "PNG", compress_level=1)


def wait(http: httpx.Client, job_id: str, until: Callable[[Any], bool] = lambda job: job["finished"]) -> Any:
    """The job as soon as it is as wanted."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        job = http.get(f"/index/{job_id}").json()
        if until(job):
            return job
        time.sleep(0.05)
    raise AssertionError(f"the job did not come that far: {job}")
