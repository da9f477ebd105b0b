"""Ten replicas on an empty database, and a database that is away for 20 seconds."""

from pathlib import Path

import pytest

from tests.outage import stop_and_restart
from tests.replicas import start_at_once_on_nothing


@pytest.mark.soak
def test_ten_replicas_that_start_at_once_on_an_empty_database_migrate_it_once(tmp_path: Path) -> None:
    start_at_once_on_nothing(tmp_path, 10)


@pytest.mark.soak
def test_a_database_that_is_away_for_20_seconds_is_503_until_it_is_back() -> None:
    stop_and_restart(away_s=20, ready_again_s=5)
