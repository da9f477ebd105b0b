"""PostgreSQL is stopped and restarted under load. The long form is in tests/soak/test_database.py."""

from tests.outage import stop_and_restart


def test_a_database_that_is_away_for_seconds_is_503_until_it_is_back_and_nothing_is_half_written() -> None:
    stop_and_restart(away_s=5, ready_again_s=60)
