"""Vectors stay in their rows: a row of much text would put its vector elsewhere, and each search fetch it."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Of rows beyond 2 KB PostgreSQL moves the largest value out; with PLAIN it moves another one. Rows that are
# there already stay as they are until they are written again. The packs' vectors take 1 KB of a page's 8.
_TABLES = ("faces", "users")


def upgrade() -> None:
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN embedding SET STORAGE PLAIN")


def downgrade() -> None:
    _drop_indexes()
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN embedding SET STORAGE EXTERNAL")


def _drop_indexes() -> None:
    """Older code knows nothing of the indexes that workers build, and would leave them behind."""
    op.execute(r"""
        DO $$
        DECLARE found regclass;
        BEGIN
            FOR found IN
                SELECT oid::regclass FROM pg_class
                WHERE relkind = 'i' AND relname ~ '^(faces|users)_near_[0-9a-f]{32}_\d+$'
                    AND relnamespace = current_schema()::regnamespace
            LOOP
                EXECUTE 'DROP INDEX ' || found;
            END LOOP;
        END $$
    """)
