"""What closed-loop clients saw: both benches of searches measure and print it alike."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from app.measure.rows import Row


@dataclass(frozen=True, slots=True)
class Load:
    """Milliseconds of a search, and searches a second."""

    clients: int
    p50_ms: float
    p95_ms: float
    per_second: float

    @classmethod
    def of(cls, clients: int, times_ms: Sequence[float], per_second: float) -> "Load":
        """From the time of each search."""
        ordered = sorted(times_ms)
        return cls(clients, statistics.median(ordered), ordered[int(0.95 * len(ordered))], per_second)

    def rows(self, what: str, reference: float | None = None) -> list[Row]:
        """Lines of the bench's table; `reference` is a number a second."""
        name = f"{what}, {self.clients} clients"
        ratio = None if reference is None else self.per_second / reference
        return [
            Row(f"{name}: p50", self.p50_ms, "ms"),
            Row(f"{name}: p95", self.p95_ms, "ms"),
            Row(name, self.per_second, "searches/s", ratio),
        ]
