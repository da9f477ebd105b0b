"""The workers that `serve` starts beside itself: started again when they die, stopped with it."""

import logging
import os
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self

from app.settings import Settings

log = logging.getLogger("app")

_STOP_S = 40.0
_LOOK_S = 0.5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_WELL_S = 60.0


class WorkerProcesses:
    """`settings.workers` processes of `python -m app worker` on the service's own database.

    Each holds the end of a pipe: when this process is killed, the workers notice and stop too.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url is not None
        self._environment = {**os.environ, "DATABASE_URL": _as_given(settings)}
        self._port = settings.metrics_port
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopping = threading.Event()
        self._watchers = [
            threading.Thread(target=self._keep, args=(number,), name=f"worker {number}")
            for number in range(settings.workers)
        ]
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        for watcher in self._watchers:
            watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stopping.set()
            for process in self._processes:
                if process.stdin is not None:
                    process.stdin.close()
        for watcher in self._watchers:
            watcher.join()

    def _keep(self, number: int) -> None:
        """Have one worker running until told to stop."""
        wait_s = _FIRST_WAIT_S
        while True:
            with self._lock:
                if self._stopping.is_set():
                    return
                process = self._start(number)
            began = time.monotonic()
            while process.poll() is None and not self._stopping.wait(_LOOK_S):
                pass
            if self._stopping.is_set():
                self._await(process)
                return
            with self._lock:
                self._processes.remove(process)
            if time.monotonic() - began > _WELL_S:
                wait_s = _FIRST_WAIT_S
            log.error("a worker ended with status %s; the next starts in %s s", process.returncode, wait_s)
            self._stopping.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        port = str(self._port + number if self._port else 0)
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "worker", "--with-parent"],
            stdin=subprocess.PIPE,
            env={**self._environment, "METRICS_PORT": port},
            start_new_session=True,  # Ctrl-C in the terminal is the service's: it stops its workers
        )
        self._processes.append(process)
        return process

    def _await(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for a worker that was told to stop to finish what it has in hand."""
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            log.error("a worker did not stop and is killed; its jobs return when their leases end")
            process.kill()
            process.wait()


def _as_given(settings: Settings) -> str:
    """The database's address as DATABASE_URL takes it."""
    assert settings.database_url is not None
    return settings.database_url.get_secret_value().replace("postgresql+psycopg://", "postgresql://")
