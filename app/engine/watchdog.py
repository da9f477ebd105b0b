"""Ends a process in which work does not end: a hang of a native library must not serve nothing for ever."""

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

EXIT_STATUS = 70
"""The process's when it is ended: sysexits' EX_SOFTWARE."""
# A thousand faces with a large recogniser on a core that others use, too, take minutes.
STUCK_S = 900.0
_LOOKS = 10


class Watchdog:
    """Looks from a thread of its own at what others work on.

    Args:
        stuck_s: how long work may take, in seconds.
    """

    def __init__(self, stuck_s: float = STUCK_S) -> None:
        self._stuck_s = stuck_s
        self._begun: dict[int, float] = {}
        self._over = threading.Event()
        threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    @contextmanager
    def working(self) -> Iterator[None]:
        """While this thread works on something."""
        thread = threading.get_ident()
        self._begun[thread] = time.monotonic()
        try:
            yield
        finally:
            del self._begun[thread]

    def close(self) -> None:
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(self._stuck_s / _LOOKS):
            oldest = min(self._begun.copy().values(), default=None)
            if oldest is not None and time.monotonic() - oldest > self._stuck_s:
                log.critical("an inference has not ended for %.0f s: the process ends", self._stuck_s)
                faulthandler.dump_traceback(all_threads=True)
                # Nothing less ends a thread that is stuck. What it held is taken over by leases.
                os._exit(EXIT_STATUS)
