"""How often somebody may call, counted in this process."""

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.errors import ThrottlingException


class Rate:
    """So many calls in any minute for each name."""

    def __init__(self, calls_a_minute: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._most = RateLimitItemPerMinute(calls_a_minute)

    def confirm(self, name: str) -> None:
        """Count a call; ThrottlingException when there were too many."""
        if not self._limiter.hit(self._most, name):
            raise ThrottlingException

    def confirm_free(self, name: str) -> None:
        """ThrottlingException when there were too many calls; this one is not counted."""
        if not self._limiter.test(self._most, name):
            raise ThrottlingException
