"""The engine, once for all tests of its parts."""

from collections.abc import Iterator

import pytest

from app.measure.engine import LocalEngine
from app.settings import Settings


@pytest.fixture(scope="package")
def engine() -> Iterator[LocalEngine]:
    opened = LocalEngine(Settings(_env_file=None))  # type: ignore[call-arg]  # pydantic-settings' own
    yield opened
    opened.close()
