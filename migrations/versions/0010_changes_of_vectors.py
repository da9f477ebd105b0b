"""In which transaction a vector came: what a process holds in memory says which of them it has seen."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TABLES = ("faces", "users")


# Indexes by these functions are of no search any more, and go with them.
_DROP_SKETCHES = r"""
    DO $$
    DECLARE found regproc;
    BEGIN
        FOR found IN
            SELECT oid::regproc FROM pg_proc
            WHERE proname ~ '^(faces|users)_sketch_[0-9a-f]{32}_\d+$'
                AND pronamespace = current_schema()::regnamespace
        LOOP
            EXECUTE 'DROP FUNCTION ' || found || ' CASCADE';
        END LOOP;
    END $$
"""


def upgrade() -> None:
    # Rows that are there have none: everybody has seen them who looks after this. Setting the default apart
    # leaves them as they are, where adding the column with it would write each again.
    # In the order in which the service takes them, lest one waits for the other.
    op.execute("LOCK TABLE users, faces IN ACCESS EXCLUSIVE MODE")
    op.execute(_DROP_SKETCHES)
    op.execute("""
        CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.changed_in := pg_current_xact_id();
            RETURN NEW;
        END $$
    """)
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ADD COLUMN changed_in xid8")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN changed_in SET DEFAULT pg_current_xact_id()")
        op.execute(
            f"CREATE INDEX {table}_by_change ON {table} (account_id, collection_id, changed_in) "
            "WHERE changed_in IS NOT NULL"
        )
        op.execute(
            f"CREATE TRIGGER note_change BEFORE UPDATE OF embedding ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION note_change()"
        )


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"DROP TRIGGER note_change ON {table}")
        op.execute(f"ALTER TABLE {table} DROP COLUMN changed_in")
    op.execute("DROP FUNCTION note_change")
