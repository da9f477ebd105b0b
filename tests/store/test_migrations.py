"""Every migration on data: up, down and up again, with the same tables and no row lost."""

from typing import Any

import pytest
from alembic.util import CommandError

from app.store import migrate
from tests.store.databases import execute
from tests.store.postgres_programs import call

PLACE = "'111111111111', 'people'"
FACE = "00000000-0000-4000-8000-00000000000f"
PHOTO = "00000000-0000-4000-8000-00000000000a"
JOB = "00000000-0000-4000-8000-00000000000b"

# What a revision's tables hold when the next one comes. A revision that was taken back is filled again, so
# statements are repeatable.
ROWS = {
    "0001": f"""
        INSERT INTO collections (account_id, collection_id, face_model_version, tags)
            VALUES ({PLACE}, '1.0', '{{"a": "b"}}') ON CONFLICT DO NOTHING;
        INSERT INTO users (account_id, collection_id, user_id, member_id, metadata)
            VALUES ({PLACE}, 'u', 'u', '{{"name": "U"}}'), ({PLACE}, 'empty', 'e/m', '{{}}')
            ON CONFLICT DO NOTHING;
        INSERT INTO faces (account_id, collection_id, face_id, image_id, external_image_id, user_id, box_left,
                box_top, box_width, box_height, confidence, embedding)
            VALUES ({PLACE}, '{FACE}', '{FACE}', 'a.jpg', 'u', 0.1, 0.2, 0.3, 0.4, 99, '[0.6,0.8]'),
                ({PLACE}, '{PHOTO}', '{FACE}', NULL, NULL, 0, 0, 1, 1, 50, '[1,0]')
            ON CONFLICT DO NOTHING;
    """,
    "0002": """
        INSERT INTO client_request_tokens (account_id, operation, token, fingerprint, answer)
            VALUES ('111111111111', 'CreateUser', 't', repeat('f', 64), '{}') ON CONFLICT DO NOTHING;
    """,
    "0003": """
        INSERT INTO access_keys (access_key_id, account_id, secret_encrypted, role, collections)
            VALUES ('AKIAEXAMPLE', '111111111111', 'sealed', 'write', '{people,party-*}')
            ON CONFLICT DO NOTHING;
    """,
    "0004": "INSERT INTO service_secrets (name, value) VALUES ('paging', 'secret') ON CONFLICT DO NOTHING;",
    "0005": f"""
        UPDATE faces SET photo = 's3://bucket/a.jpg' WHERE face_id = '{FACE}';
        UPDATE users SET subject = 'app-user' WHERE user_id = 'u';
        INSERT INTO index_jobs (job_id, account_id, collection_id, kind, prefix, allow_missing,
                face_model_version, state, listed)
            VALUES ('{JOB}', {PLACE}, 'prefix', 'p/', false, '1.0', 'queued', true) ON CONFLICT DO NOTHING;
        INSERT INTO index_items (job_id, item, user_id, member_id, photo, face_id, state, embedding)
            VALUES ('{JOB}', 1, 'u', 'u', 'p/a.jpg', '{FACE}', 'done', '[0.6,0.8]') ON CONFLICT DO NOTHING;
        INSERT INTO index_erased (job_id, user_id) VALUES ('{JOB}', 'gone') ON CONFLICT DO NOTHING;
    """,
    "0006": f"""
        UPDATE collections SET owner = 'photographer';
        UPDATE users SET guest = true WHERE user_id = 'u';
        INSERT INTO albums (account_id, album_id, album_key, threshold, recompress)
            VALUES ({PLACE}, gen_random_uuid(), 80, false) ON CONFLICT DO NOTHING;
        INSERT INTO photos (photo_id, account_id, album_id, place, name, state, faces)
            VALUES ('{PHOTO}', {PLACE}, 's3://bucket/a.jpg', 'a.jpg', 'done', 1) ON CONFLICT DO NOTHING;
        UPDATE faces SET photo_id = '{PHOTO}' WHERE face_id = '{FACE}';
        INSERT INTO photo_matches (account_id, album_id, user_id, photo_id, face_id, cosine)
            VALUES ({PLACE}, 'u', '{PHOTO}', '{FACE}', 0.9) ON CONFLICT DO NOTHING;
        INSERT INTO operation_counts (account_id, day, operation, calls)
            VALUES ('111111111111', '2026-01-01', 'IndexFaces', 7) ON CONFLICT DO NOTHING;
    """,
}

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def url(url: str) -> str:
    """An empty database with pgvector, which no migration takes away: it may not be the service's own."""
    execute(url, "CREATE EXTENSION vector")
    return url


def schema(url: str) -> list[str]:
    """Tables, indexes, keys, functions and triggers, as pg_dump writes them.

    A column that is put back comes last; nothing here asks for columns by their order.
    """
    dump = call("pg_dump", "--schema-only", "--exclude-table=alembic_version", url=url)
    found: list[str] = []
    columns: list[str] | None = None
    for line in dump.splitlines():
        if not line or line.startswith(("--", "\\")):
            continue
        if columns is not None and not line.startswith(")"):
            columns.append(line.removesuffix(","))
            continue
        if columns is not None:
            found += sorted(columns)
        columns = [] if line.startswith("CREATE TABLE") else None
        found.append(line)
    return found


def rows(url: str) -> Rows:
    """All rows, by table."""
    tables = execute(
        url,
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
        "AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'",
    )
    return {
        name: [row for (row,) in execute(url, f"SELECT to_jsonb(kept) FROM {name} AS kept")]
        for (name,) in tables
    }


def confirm_kept(before: Rows, after: Rows) -> None:
    """Tables and columns that are there before and after hold the same."""
    for name in before.keys() & after.keys():
        assert len(after[name]) == len(before[name]), name
        if before[name]:
            columns = before[name][0].keys() & after[name][0].keys()

            def shared(found: list[dict[str, Any]], columns: Any = columns) -> list[str]:
                return sorted(str([row[column] for column in sorted(columns)]) for row in found)

            assert shared(after[name]) == shared(before[name])


def test_each_migration_keeps_the_data_up_and_down_and_comes_to_the_same_tables(url: str) -> None:
    below = "base"
    for revision in migrate.revisions():
        tables_below, rows_below = schema(url), rows(url)
        migrate.upgrade(url, revision)
        tables = schema(url)
        confirm_kept(rows_below, rows(url))
        execute(url, ROWS.get(revision, ""))
        filled = rows(url)
        migrate.downgrade(url, below)
        assert schema(url) == tables_below, f"{revision} taken back leaves something"
        confirm_kept(filled, rows(url))
        migrate.upgrade(url, revision)
        assert schema(url) == tables, f"{revision} applied again makes other tables"
        execute(url, ROWS.get(revision, ""))
        assert {name: len(found) for name, found in rows(url).items()} == {
            name: len(found) for name, found in filled.items()
        }
        below = revision
    assert [name for name, found in rows(url).items() if not found] == [], "ROWS leaves tables empty"


def test_all_migrations_taken_back_at_once_and_applied_again_make_the_same_tables(url: str) -> None:
    empty = schema(url)
    migrate.upgrade(url)
    tables = schema(url)
    migrate.downgrade(url, "base")
    assert schema(url) == empty
    migrate.upgrade(url)
    assert schema(url) == tables


def test_a_rebuild_that_was_under_way_is_a_job_of_the_queue(url: str) -> None:
    for revision in ("0001", "0005"):
        migrate.upgrade(url, revision)
        execute(url, ROWS[revision])
    migrate.upgrade(url, "0006")
    assert execute(url, "SELECT lane, kind, subject, collection_id FROM jobs") == [
        ("tasks 1.0", "rebuild", JOB, "people")
    ]


def test_a_schema_of_a_newer_release_is_left_alone(url: str) -> None:
    migrate.upgrade(url)
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(CommandError, match="9999"):
        migrate.upgrade(url)
    assert execute(url, "SELECT version_num FROM alembic_version") == [("9999",)]
