"""A service that is told to stop under load fails no request that it has taken."""

import http.client
import json
import signal
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.measure.service import start
from tests import photos

CLIENTS = 16


@pytest.mark.parametrize("drain_s", ["0", "1"])
def test_sigterm_under_16_clients_fails_no_request(tmp_path: Path, drain_s: str) -> None:
    service = start(tmp_path / "data", DRAIN_SECONDS=drain_s)
    seen: Counter[str] = Counter()
    failures: list[str] = []
    busy = threading.Event()
    where = urlsplit(service.url).netloc
    clients = [
        threading.Thread(target=_call_until_closed, args=(where, number, seen, failures, busy))
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    assert busy.wait(60)
    service.process.send_signal(signal.SIGTERM)
    if drain_s != "0":
        told = httpx.get(f"{service.url}/ready")
        assert (told.status_code, told.json()["reason"]) == (503, "Draining")
        assert told.headers["connection"] == "close"
    assert service.process.wait(120) == 0
    for client in clients:
        client.join(60)
    assert failures == []
    assert seen["answered"] > CLIENTS
    assert "Traceback" not in service.log


def _call_until_closed(
    where: str, number: int, seen: Counter[str], failures: list[str], busy: threading.Event
) -> None:
    """As a client with a pool of connections does; ends when nobody listens any more."""
    connection = http.client.HTTPConnection(where, timeout=60)
    image = photos.astronaut() if number % 2 else None
    while True:
        try:
            connection.connect()
        except ConnectionError:
            return
        try:
            while connection.sock is not None:
                if image is None:
                    target = {"X-Amz-Target": "RekognitionService.ListCollections"}
                    connection.request("POST", "/", json.dumps({}), target)
                else:
                    connection.request("POST", "/api/v1/detect-faces", *_form(image))
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    failures.append(f"status {answer.status}")
                seen["answered"] += 1
                if seen["answered"] > 3 * CLIENTS:
                    busy.set()
        except (ConnectionError, http.client.HTTPException, TimeoutError) as error:
            failures.append(repr(error))
            return


def _form(image: bytes) -> tuple[bytes, dict[str, str]]:
    edge = "edge-of-parts"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'.encode()
    return head + image + f"\r\n--{edge}--\r\n".encode(), {
        "Content-Type": f"multipart/form-data; boundary={edge}"
    }
