"""A real Prometheus in a temporary folder, which scrapes as observability/prometheus.yml says."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.measure.s3_server import free_ports
from tests.observability.queries import FOLDER, RULES

_START_S = 240


def program(name: str) -> str:
    """A program of Debian's package prometheus. Without it a test is skipped, and fails where CI is set."""
    found = shutil.which(name)
    if found is None:
        told = f"{name} is missing: install Debian's package prometheus"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return found


class Prometheus:
    """One that runs, asked by HTTP."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def ready(self) -> bool:
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples of now."""
        answer = self._http.post("/api/v1/query", data={"query": expr})
        assert answer.status_code == 200, f"{expr}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """What became of each rule."""
        groups = self._http.get("/api/v1/rules").raise_for_status().json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def close(self) -> None:
        self._http.close()


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """One that runs while this is open.

    Args:
        folder: where it keeps its configuration and its data.
        targets: host and port of the jobs of observability/prometheus.yml that are scraped.
    """
    (folder / "prometheus.yml").write_text(yaml.safe_dump(_configuration(targets)))
    [port] = free_ports(1)
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running = Prometheus(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + _START_S
        while not running.ready():
            told = (folder / "log").read_text()
            assert process.poll() is None and time.monotonic() < deadline, told  # noqa: PT018
            time.sleep(0.1)
        yield running
    finally:
        running.close()
        process.terminate()
        process.wait(30)


def _configuration(targets: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in found["scrape_configs"]}
    assert targets.keys() <= jobs
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in RULES],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
        ],
    }
