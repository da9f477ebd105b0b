"""The workers that `serve` starts beside itself: started again when they die, stopped with it."""

import json
import logging
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from app.settings import Settings

log = logging.getLogger("app")

_STOP_S = 40.0
_LOOK_S = 0.5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_WELL_S = 60.0


class WorkerProcesses:
    """`settings.workers` processes of `python -m app worker` with the service's own settings.

    Each holds the end of a pipe, whose first line is its settings; when this process is killed, the
    workers notice and stop too.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
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
                    with suppress(BrokenPipeError):  # it ended before it had read its settings
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
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "worker", "--with-parent"],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is the service's: it stops its workers
        )
        self._processes.append(process)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # `_keep` notices
            process.stdin.write(line_for_worker(self._settings, number))
            process.stdin.flush()
        return process

    def _await(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for a worker that was told to stop to finish what it has in hand."""
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            log.error("a worker did not stop and is killed; its jobs return when their leases end")
            process.kill()
            process.wait()


def line_for_worker(settings: Settings, number: int) -> bytes:
    """All settings as JSON, which the worker takes as they are: it asks no source again.

    The embedded database's address and the ports are the service's to say, and a worker that starts later
    works with what its service works with, whatever was changed in the meantime.
    """
    port = settings.metrics_port
    own = {"metrics_port": port + number if port else 0, "app_config_prefix": None}
    return json.dumps({**settings.model_dump(), **own}, default=_plain).encode() + b"\n"


def _plain(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
