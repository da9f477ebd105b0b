"""How often somebody may call, counted in this process."""

import math
import time
from collections.abc import Mapping

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.errors import ThrottlingException
from app.metrics import Metrics
from app.settings import CallClass, Settings


class Rate:
    """So many calls in any minute for each name."""

    def __init__(self, calls_a_minute: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._most = RateLimitItemPerMinute(calls_a_minute)

    def confirm(self, name: str) -> None:
        """Count a call; ThrottlingException when there were too many."""
        if not self._limiter.hit(self._most, name):
            raise ThrottlingException(retry_after_s=self._wait_s(name))

    def confirm_free(self, name: str) -> None:
        """ThrottlingException when there were too many calls; this one is not counted."""
        if not self._limiter.test(self._most, name):
            raise ThrottlingException(retry_after_s=self._wait_s(name))

    def _wait_s(self, name: str) -> int:
        """Until the next call may come, in whole seconds."""
        return max(1, math.ceil(self._limiter.get_window_stats(self._most, name).reset_time - time.time()))


class CallRates:
    """How often a key, and an address, may call, by class of call; what has no limit is not counted."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._keys = _rates(settings.key_calls_a_minute)
        self._addresses = _rates(settings.address_calls_a_minute)
        self._metrics = metrics

    def confirm_address(self, address: str, call_class: CallClass) -> None:
        """Count a call of an address, before anything is asked of the database or the image is read.

        Raises:
            ThrottlingException: there were too many.
        """
        self._confirm(self._addresses, address, call_class, "address")

    def confirm_key(self, key: str, call_class: CallClass) -> None:
        """Count a call of a key, or of an app user's token; as `confirm_address`."""
        self._confirm(self._keys, key, call_class, "key")

    def _confirm(self, rates: Mapping[CallClass, Rate], name: str, call_class: CallClass, cause: str) -> None:
        rate = rates.get(call_class)
        if rate is None:
            return
        try:
            rate.confirm(name)
        except ThrottlingException:
            self._metrics.requests_refused.labels(cause).inc()
            raise


def _rates(calls_a_minute: Mapping[CallClass, int]) -> dict[CallClass, Rate]:
    return {call_class: Rate(calls) for call_class, calls in calls_a_minute.items()}
