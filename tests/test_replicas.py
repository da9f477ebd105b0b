"""Several replicas on one database. The long form is in tests/soak/test_database.py."""

from pathlib import Path

from tests.replicas import start_at_once_on_nothing


def test_replicas_that_start_at_once_on_an_empty_database_migrate_it_once(tmp_path: Path) -> None:
    start_at_once_on_nothing(tmp_path, 4)
