"""A real service in a process of its own, for measuring and for the tests."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_LISTENING = re.compile(r"listening on (http://\S+),")
_WORKING = re.compile(r"worker \d+ works")
START_TIMEOUT_S = 240
STOP_TIMEOUT_S = 120
# Of the environment; RUNTIME, for a service that is measured or tested has the engine of this process.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "RUNTIME")


class ServiceFailedError(Exception):
    """The service ended or did not listen in time; the text is what it printed."""


@dataclass(slots=True)
class RunningService:
    """A started service: its address, its process, and what it has printed so far."""

    url: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Stop it as a person would, and return its exit status."""
        self.process.send_signal(how)
        return self.process.wait(STOP_TIMEOUT_S)


def start(data_dir: Path, **settings: str) -> RunningService:
    """Start `python -m app serve` on a free port of 127.0.0.1 and wait until it listens.

    Without workers, unless the settings ask for some.

    Args:
        data_dir: its DATA_DIR.
        settings: more of its settings, by their names in the environment.
    """
    process, log_path, found = _started("serve", data_dir, settings, _LISTENING)
    return RunningService(found[1], process, log_path)


def start_worker(data_dir: Path, **settings: str) -> RunningService:
    """Start `python -m app worker` and wait until it works; it has no address.

    Args:
        data_dir: the DATA_DIR of the service whose embedded database it is to work on, unless the
            settings name a database.
        settings: more of its settings.
    """
    process, log_path, _ = _started("worker", data_dir, settings, _WORKING)
    return RunningService("", process, log_path)


def _started(
    command: str, data_dir: Path, settings: Mapping[str, str], sign: re.Pattern[str]
) -> tuple[subprocess.Popen[bytes], Path, re.Match[str]]:
    data_dir.mkdir(parents=True, exist_ok=True)
    log_path = Path(tempfile.mkstemp(prefix=f"{command}-", suffix=".log", dir=data_dir)[1])
    with log_path.open("wb") as log:
        process = _spawn(command, data_dir, settings, log)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = sign.search(log_path.read_text())
        if found:
            return process, log_path, found
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise ServiceFailedError(log_path.read_text())


def _spawn(
    command: str, data_dir: Path, settings: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    names = {
        "HOST": "127.0.0.1",
        "PORT": "0",
        "DATA_DIR": str(data_dir),
        "MODEL_PACK": "mobile",
        "WORKERS": "0",
        "WORKER_NICE": "0",  # on a busy machine a worker that stands back may never get its turn
        "METRICS_PORT": "0",
        **settings,
    }
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "app", command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=Path(__file__).parents[2],
        env={**kept, **names},
        start_new_session=threading.current_thread() is threading.main_thread(),
    )


@contextmanager
def running(**settings: str) -> Iterator[RunningService]:
    """A service with a DATA_DIR of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="svc-face-recon-") as folder:
        service = start(Path(folder) / "data", **settings)
        try:
            yield service
        finally:
            service.stop()
