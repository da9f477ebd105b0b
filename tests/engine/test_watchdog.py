"""A process in which an inference hangs ends, and says where it hung."""

import subprocess
import sys
import time

from app.engine.watchdog import EXIT_STATUS, Watchdog

HANGING = """
import asyncio, threading
from app.engine import pool
from app.engine.watchdog import Watchdog
from app.metrics import Metrics

def hang_here():
    threading.Event().wait()

pool.Watchdog = lambda: Watchdog(0.5)
asyncio.run(pool.InferencePool(1, 1, 10, Metrics()).run(hang_here))
"""


def test_work_that_does_not_end_ends_the_process_and_shows_where() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60)
    assert ended.returncode == EXIT_STATUS
    assert "hang_here" in ended.stderr


def test_work_that_ends_in_time_ends_nothing() -> None:
    watchdog = Watchdog(0.3)
    for _ in range(6):
        with watchdog.working():
            time.sleep(0.1)
    time.sleep(0.5)
    watchdog.close()
