"""A container's limit of CPU time counts as cores."""

from pathlib import Path

import pytest

from app.engine import cores


def tree(root: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A made-up /sys/fs/cgroup and /proc/self/cgroup."""
    for name, content in files.items():
        file = root / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (root / "own").write_text(own)
    return root / "fs", root / "own"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, []),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {}, []),
        ("0::/\n", {"cpu.max": "nonsense"}, []),
        (
            "0::/kubepods/pod1/box\n",
            {"kubepods/pod1/box/cpu.max": "max 100000", "kubepods/pod1/cpu.max": "400000 100000"},
            [4.0],
        ),
        (
            "5:memory:/\n4:cpu,cpuacct:/docker/box\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            [0.5],
        ),
        (
            "4:cpu,cpuacct:/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            [],
        ),
    ],
)
def test_limits(tmp_path: Path, own: str, files: dict[str, str], expected: list[float]) -> None:
    assert list(cores.limits(*tree(tmp_path, own, files))) == expected


def test_where_there_are_no_control_groups(tmp_path: Path) -> None:
    assert list(cores.limits(tmp_path, tmp_path / "missing")) == []


@pytest.mark.parametrize(("left", "expected"), [([2.5], 2), ([0.5], 1), ([64.0, 3.0], 3), ([], 8)])
def test_whole_cores(monkeypatch: pytest.MonkeyPatch, left: list[float], expected: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cores, "limits", lambda: iter(left))
    assert cores.usable_cores() == expected
