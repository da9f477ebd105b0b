"""A line of the bench's table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A figure, its unit, and its ratio to the reference where it has one."""

    what: str
    figure: float
    unit: str
    ratio: float | None = None
