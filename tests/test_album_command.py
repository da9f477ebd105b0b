"""`python -m app album` against a running service."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from app.measure.service import RunningService, running
from tests import photos
from tests.documents import ROOT

KEY_ID, SECRET = "ADMINADMINADMIN1", "secret-of-twenty-characters"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("gala")
    (path / "group.jpg").write_bytes(photos.group())
    (path / "astronaut.png").write_bytes(photos.astronaut())
    (path / "notes.txt").write_bytes(b"no photo")
    return path


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[RunningService]:
    with running(
        WORKERS="1",
        FOLDERS_ALLOWED=str(folder),
        AUTH="required",
        BOOTSTRAP_ACCESS_KEY_ID=KEY_ID,
        BOOTSTRAP_SECRET_ACCESS_KEY=SECRET,
    ) as started:
        yield started


def album(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app", "album", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def test_an_album_is_made_indexed_and_reported(service: RunningService, folder: Path) -> None:
    name, access = f"gala-{uuid4()}", ("--url", service.url, "--key", f"{KEY_ID}:{SECRET}")
    done = album("process", name, "--source", str(folder), *access)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2 done, 0 failed, 1 skipped, 0 pending, 0 processing - 7 faces"
    assert "3/3" in done.stderr  # the bar
    # A photo that can't be read is named, and tells scripts that something is amiss.
    (folder / "broken.jpg").write_bytes(photos.group()[:2000])
    again = album("process", name, *access)
    (folder / "broken.jpg").unlink()
    assert again.returncode == 1
    assert "failed: " in again.stdout
    assert "broken.jpg: InvalidImageFormatException (1 attempts)" in again.stdout
    assert album("status", name, *access).stdout == again.stdout


def test_a_watched_album_takes_in_what_comes_later(service: RunningService, folder: Path) -> None:
    name = f"gala-{uuid4()}"
    watching = subprocess.Popen(
        [sys.executable, "-m", "app", "album", "process", name, "--source", str(folder), "--watch",
         "--url", service.url, "--key", f"{KEY_ID}:{SECRET}"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=service.url, headers={"X-API-Key": f"{KEY_ID}:{SECRET}"}) as http:
            _wait_for(http, name, 2)
            (folder / "later.jpg").write_bytes(photos.group() + b" ")
            _wait_for(http, name, 3)
    finally:
        watching.terminate()
        watching.communicate()
        (folder / "later.jpg").unlink(missing_ok=True)


def test_refusals_are_one_line_and_exit_status_1(service: RunningService) -> None:
    here, key = ("--url", service.url), ("--key", f"{KEY_ID}:{SECRET}")
    for arguments, said in (
        (("status", "nowhere", *here, *key), "ResourceNotFoundException"),
        (("status", "nowhere", *here, "--key", f"{KEY_ID}:wrong"), "UnrecognizedClientException"),
        (("process", "x", "--source", "/etc", *here, *key), "FOLDERS_ALLOWED"),
        (("status", "nowhere", "--url", "http://127.0.0.1:9"), "can't be reached"),
    ):
        failed = album(*arguments)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert said in failed.stderr
        assert len(failed.stderr.splitlines()) == 1


def _wait_for(http: httpx.Client, name: str, done: int) -> None:
    for _ in range(600):
        answer = http.get(f"/api/v1/albums/{name}/status")
        if answer.status_code == 200 and answer.json()["done"] == done:
            return
        time.sleep(0.1)
    raise AssertionError(f"the album has not come to {done} photos")
