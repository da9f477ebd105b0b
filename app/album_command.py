"""`python -m app album`: have a running service index an album, and watch how far it is."""

import argparse
import sys
import time
from typing import Any

import httpx
from tqdm import tqdm

from app.settings import Settings, SettingsError, load_settings

_POLL_S = 1.0
_WATCH_S = 5.0
_TIMEOUT_S = 60.0


class AlbumFailedError(Exception):
    """The service refused, or can't be reached; the text says why."""


def run(arguments: argparse.Namespace) -> int:
    """Carry out `album process` or `album status`; returns the exit status, 1 also when photos failed."""
    try:
        settings = load_settings()
        with _client(settings, arguments.url, arguments.key) as http:
            if arguments.action == "status":
                return _report(_call(http, "GET", f"/albums/{arguments.album_id}/status"))
            return _process(http, arguments)
    except (SettingsError, AlbumFailedError) as error:
        print(f"svc-face-recon album: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 130


def _process(http: httpx.Client, arguments: argparse.Namespace) -> int:
    album_id = arguments.album_id
    if arguments.source is not None:
        found = _answer(http, "GET", f"/albums/{album_id}")
        if found.status_code == 404:
            _call(http, "POST", "/albums", {"id": album_id, "source": arguments.source})
    while True:
        _call(http, "POST", f"/albums/{album_id}/process")
        status = _follow(http, album_id)
        if not arguments.watch:
            return _report(status)
        time.sleep(_WATCH_S)


def _follow(http: httpx.Client, album_id: str) -> dict[str, Any]:
    """Show a bar until the album is finished; the last status."""
    status = _call(http, "GET", f"/albums/{album_id}/status")
    with tqdm(total=status["total"], unit="photo", desc=album_id, dynamic_ncols=True) as bar:
        while True:
            bar.total = status["total"]
            bar.set_postfix(
                faces=status["faces"], failed=status["failed"], skipped=status["skipped"], refresh=False
            )
            bar.update(status["done"] + status["failed"] + status["skipped"] - bar.n)
            bar.refresh()
            if status["finished"]:
                return status
            time.sleep(_POLL_S)
            status = _call(http, "GET", f"/albums/{album_id}/status")


def _report(status: dict[str, Any]) -> int:
    counts = ("done", "failed", "skipped", "pending", "processing")
    print(", ".join(f"{status[name]} {name}" for name in counts), f"- {status['faces']} faces")
    if status["listing_error"]:
        print(f"the source could not be listed: {status['listing_error']}")
    for photo in status["failures"]:
        print(f"failed: {photo['name']}: {photo['reason']} ({photo['attempts']} attempts)")
    return 1 if status["failed"] or status["listing_error"] else 0


def _client(settings: Settings, url: str | None, key: str | None) -> httpx.Client:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = (url or f"http://{host}:{settings.port}").rstrip("/")
    if key is None and settings.bootstrap_access_key_id and settings.bootstrap_secret_access_key:
        secret = settings.bootstrap_secret_access_key.get_secret_value()
        key = f"{settings.bootstrap_access_key_id}:{secret}"
    headers = {} if key is None else {"X-API-Key": key}
    return httpx.Client(base_url=f"{address}/api/v1", headers=headers, timeout=_TIMEOUT_S)


def _call(http: httpx.Client, method: str, path: str, sent: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = _answer(http, method, path, sent)
    if answer.is_error:
        try:
            problem = answer.json()
            text = f"{problem['code']}: {problem['detail']}"
        except (ValueError, KeyError, TypeError):
            text = f"the service answered {answer.status_code}"
        raise AlbumFailedError(text)
    found: dict[str, Any] = answer.json()
    return found


def _answer(http: httpx.Client, method: str, path: str, sent: dict[str, Any] | None = None) -> httpx.Response:
    try:
        return http.request(method, path, json=sent)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AlbumFailedError(f"the service can't be reached: {type(error).__name__}") from error
