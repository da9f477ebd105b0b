"""A rebuild of 2,000 members, killed three times."""

from pathlib import Path

import pytest

from tests.api.kills import rebuild_under_kills
from tests.supabase import supabase


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_rebuild_of_2000_members_survives_three_kills(tmp_path: Path) -> None:
    with supabase() as storage:
        listed, searches = rebuild_under_kills(tmp_path, storage, 2000, kills=3)
    print(f"searches meanwhile: {searches.right} right, {len(searches.wrong)} wrong")
    assert listed == {"before": 1, **{f"m{number}": 1 for number in range(2000)}}
    assert searches.wrong == []
    assert searches.right > 100
