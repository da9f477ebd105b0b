"""Thousands of generated requests over the whole API, alone and in sequences."""

from pathlib import Path

import pytest

from tests.api.fuzzing import fuzz


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_5000_generated_requests_find_no_fault(tmp_path: Path) -> None:
    found = fuzz(tmp_path, "examples,coverage,fuzzing,stateful", examples=160, limit_s=1700)
    print(f"{found.calls} calls")
    assert found.passed, found.report
    assert found.calls >= 5000
    assert "Traceback" not in found.log
