"""How many cores this process may use: what the scheduler and a container's limit of CPU time leave it.

Such a limit (`docker run --cpus`, a Kubernetes limit) doesn't change how many cores there seem to be:
a thread for each of them would be stopped for most of every tenth of a second, searches with it.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Whole cores for this process, 1 or more. A part of a core beyond them is left to the event loop."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([cores, *limits()])))


def limits(cgroups: Path = _CGROUPS, own: Path = _OWN) -> Iterator[float]:
    """Cores' worth of time that each control group around this process leaves it; nothing where none does."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        folders = [str(folder).lstrip("/") for folder in (PurePosixPath(path), *PurePosixPath(path).parents)]
        if controllers == "":  # version 2
            for folder in folders:
                yield from _limit(cgroups / folder / "cpu.max")
        elif "cpu" in controllers.split(","):
            for folder in folders:
                group = cgroups / controllers / folder
                yield from _limit(group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us")


def _limit(*files: Path) -> Iterator[float]:
    """Quota over period, which stand in one file or in two; `max` or -1 is no limit."""
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
    except (OSError, ValueError):
        return
    if quota != "max" and int(quota) > 0:
        yield int(quota) / int(period)
