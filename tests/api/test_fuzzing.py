"""A few hundred generated requests; `make soak` sends thousands."""

from pathlib import Path

from tests.api.fuzzing import fuzz


def test_generated_requests_find_no_fault(tmp_path: Path) -> None:
    found = fuzz(tmp_path, "examples,fuzzing,stateful", examples=12, limit_s=110)
    assert found.passed, found.report
    assert found.calls >= 300
    assert "Traceback" not in found.log
